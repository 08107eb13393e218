"""Layer: a layer that is one op with its settings."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

import ranvier.ops as ops
from ranvier.autograd.creation import empty
from ranvier.extension import belongs_to
from ranvier.nn.module import Module

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        return lambda kind: kind


@dataclass_transform(eq_default=False)
class Layer(Module):
    """y = op(x, settings). The settings are the annotated attributes of a class, with their defaults.

    They are the arguments of its constructor, in their order, and those of the op after x. The text shows all
    but ``inplace``, unless ``_shown`` says otherwise.
    """

    op: ClassVar[str]  # its name in ranvier.ops; by default that of the class
    _settings: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if belongs_to(cls.__module__, "ranvier.nn"):
            if "op" not in vars(cls):
                cls.op = cls.__name__.lower()
            annotations = inspect.get_annotations(cls)
            own = [name for name, kind in annotations.items() if not kind.startswith("ClassVar")]
            if "__init__" not in vars(cls) and (own or not cls._settings):
                cls._declare(own, annotations)
            if hasattr(cls.forward, "op"):
                cls.forward = _forward(cls.op, cls._settings)  # type: ignore[method-assign]
        super().__init_subclass__(**kwargs)

    @classmethod
    def _declare(cls, names: list[str], annotations: dict[str, Any]) -> None:
        """Makes the constructor."""
        defaults = {name: vars(cls)[name] for name in names if name in vars(cls)}
        for name in defaults:
            delattr(cls, name)  # instances have it
        kind, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
        parameters = [inspect.Parameter("self", kind)]
        for name in names:
            default = defaults.get(name, empty)
            parameters.append(inspect.Parameter(name, kind, default=default, annotation=annotations[name]))
        signature = inspect.Signature(parameters, return_annotation="None")

        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__()
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            self._set({name: bound.arguments[name] for name in names})

        __init__.__signature__ = signature  # type: ignore[attr-defined]
        __init__.__qualname__ = f"{cls.__qualname__}.__init__"
        cls.__init__ = __init__  # type: ignore[method-assign]
        cls._settings = tuple(names)
        if "_shown" not in vars(cls):
            cls._shown = tuple(name for name in names if name != "inplace")

    def _set(self, settings: dict[str, Any]) -> None:
        """Takes the settings; subclasses check and convert them."""
        for name, value in settings.items():
            setattr(self, name, value)

    def _example(self) -> tuple[Any, ...] | None:
        return (empty((0,) * 8),) if self._settings else None

    def forward(self, input: Any) -> Any:
        return getattr(ops, self.op)(input, *[getattr(self, name) for name in self._settings])

    forward.op = "that of self"  # type: ignore[attr-defined]


def _forward(op: str, settings: tuple[str, ...]) -> Any:
    """``Layer.forward`` as written by hand for one class: loops and lookups cost a third of a small call."""
    arguments = ", ".join(["input", *(f"self.{name}" for name in settings)])
    # rv.compile knows this package's code by its file.
    code = compile(f"def forward(self, input): return ops.{op}({arguments})", __file__, "exec")
    made: dict[str, Any] = {}
    exec(code, globals(), made)
    made["forward"].op = op
    return made["forward"]
