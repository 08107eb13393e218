"""Layers that are one op with its settings: OneOp, and Layer, which declares them as attributes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, ClassVar

import ranvier.ops as ops
from ranvier.extension import belongs_to
from ranvier.nn.module import Module
from ranvier.ops.making.creation import empty
from ranvier.ops.rows import made
from ranvier.tensors.tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform as dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        return lambda kind: kind


class OneOp(Module):
    """A layer that is one op: its constructor takes the settings of the op."""

    _op: ClassVar[str]  # the name of the layer's op in ranvier.ops
    _settings: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def _declare(cls, settings: Iterable[Parameter]) -> None:
        """Makes the constructor."""
        parameters = [Parameter("self", Parameter.POSITIONAL_OR_KEYWORD), *settings]
        signature = Signature(parameters, return_annotation="None")
        usual = {parameter.name: parameter.default for parameter in parameters[1:]}
        names = tuple(usual)
        required = {name for name in names if usual[name] is Parameter.empty}

        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            if len(given) != len(args) + len(kwargs) or not required <= given.keys() <= usual.keys():
                signature.bind(self, *args, **kwargs)  # This raises Python's TypeError.
            super().__init__()
            self._set({**usual, **given})

        __init__.__signature__ = signature  # type: ignore[attr-defined]
        __init__.__qualname__ = f"{cls.__qualname__}.__init__"
        cls.__init__ = __init__  # type: ignore[method-assign]
        cls._settings = names
        if "_shown" not in vars(cls):
            cls._shown = tuple(name for name in names if name != "inplace")

    def _set(self, settings: dict[str, Any]) -> None:
        """Takes the settings; subclasses check and convert them."""
        for name, value in settings.items():
            setattr(self, name, value)


@dataclass_transform(eq_default=False)
class Layer(OneOp):
    """y = op(x, settings). The settings are the annotated attributes of a class, with their defaults.

    They are the arguments of its constructor, in their order, and those of the op after x. The text shows all
    but ``inplace``, unless ``_shown`` says otherwise. The op has the name of the class by default.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if belongs_to(cls.__module__, "ranvier.nn"):
            if "_op" not in vars(cls):
                cls._op = cls.__name__.lower()
            annotations = inspect.get_annotations(cls)
            own = [name for name, kind in annotations.items() if not kind.startswith("ClassVar")]
            if "__init__" not in vars(cls) and (own or not cls._settings):
                defaults = {name: vars(cls).get(name, Parameter.empty) for name in own}
                for name in vars(cls).keys() & {*own}:
                    delattr(cls, name)  # instances have it
                kind = Parameter.POSITIONAL_OR_KEYWORD
                cls._declare(
                    Parameter(name, kind, default=value, annotation=annotations[name])
                    for name, value in defaults.items()
                )
            if hasattr(cls.forward, "op"):
                cls.forward = forward_of(cls, cls._settings)  # type: ignore[method-assign]
        super().__init_subclass__(**kwargs)

    def _example(self) -> tuple[Any, ...] | None:
        return (empty((0,) * 8),) if {*self._settings} - {"inplace"} else None

    def forward(self, input: Any) -> Any:
        return getattr(ops, self._op)(input, *[getattr(self, name) for name in self._settings])

    forward.op = "that of self"  # type: ignore[attr-defined]


def forward_of(cls: type[OneOp], settings: Iterable[str], inputs: Sequence[str] = ("input",)) -> Any:
    """``forward`` as written by hand for one class: loops and lookups cost a third of a small call."""
    arguments = ", ".join([*inputs, *(f"self.{name}" for name in settings)])
    call = f"ops.{cls._op}({arguments})"
    forward = made(f"def forward(self, {', '.join(inputs)}): return {call}", globals())
    forward.op, forward.__qualname__ = cls._op, f"{cls.__qualname__}.forward"
    forward.__annotations__ = {**dict.fromkeys(inputs, Any), "return": Tensor}
    return forward
