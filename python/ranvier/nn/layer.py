"""Layers that are one op with its settings: OneOp, and Layer, which declares them as attributes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from inspect import Parameter
from typing import TYPE_CHECKING, Any, ClassVar

import ranvier.nn as nn  # noqa: F401  # forwards of rare ops call nn.functional
import ranvier.ops as ops
from ranvier.extension import belongs_to
from ranvier.nn.module import Module
from ranvier.ops.making.creation import empty
from ranvier.ops.rows import made
from ranvier.ops.table import FUNCTIONAL_OF
from ranvier.tensors.tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform as dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        return lambda kind: kind


_KIND = Parameter.POSITIONAL_OR_KEYWORD


class OneOp(Module):
    """A layer that is one op: its constructor takes the settings of the op, forward its tensors."""

    _op: ClassVar[str] = ""  # the name of the layer's op in ranvier.ops, or of a rare one in nn.functional
    _settings: ClassVar[dict[str, Parameter]] = {}
    _inputs: ClassVar[tuple[str, ...]] = ("input",)

    @classmethod
    def _declare(cls, settings: Iterable[Parameter]) -> None:
        """Makes the constructor."""
        cls._settings = {setting.name: setting for setting in settings}
        given = ", ".join(f"{name!r}: {name}" for name in cls._settings)
        body = f"super(OneOp, self).__init__()\nself._set({{{given}}})"
        taken: list[Any] = ["self", *cls._settings.values()]
        cls.__init__ = made(f"{cls.__qualname__}.__init__", taken, body, globals(), "None")  # type: ignore[method-assign]
        if "_shown" not in vars(cls):
            cls._shown = tuple(name for name in cls._settings if name != "inplace")

    @classmethod
    def _follow(cls, of_op: Mapping[str, Parameter]) -> None:
        """Makes ``forward`` as written by hand for one class: loops and lookups cost a third of a small call.

        What an op of these parameters needs and is no setting is an input; its others come last.
        """
        required = [name for name, p in of_op.items() if p.default is Parameter.empty]
        cls._inputs = tuple(name for name in required if name not in cls._settings)
        if "forward" in vars(cls):
            return
        passed = [f"self.{name}" for name in of_op if name in cls._settings or name == "training"]
        home = "nn.functional" if cls._op in FUNCTIONAL_OF else "ops"
        taken: list[Any] = ["self", *(Parameter(name, _KIND, annotation=Any) for name in cls._inputs)]
        call = f"return {home}.{cls._op}({', '.join([*cls._inputs, *passed])})"
        cls.forward = made(f"{cls.__qualname__}.forward", taken, call, globals(), Tensor)  # type: ignore[method-assign]

    def _set(self, settings: dict[str, Any]) -> None:
        """Takes the settings; subclasses check and convert them."""
        for name, value in settings.items():
            setattr(self, name, value)


@dataclass_transform(eq_default=False)
class Layer(OneOp):
    """y = op(x, settings). The settings are the annotated attributes of a class, with their defaults.

    They are the arguments of its constructor, in their order, and those of the op with their names. The text
    shows all but ``inplace``, unless ``_shown`` says otherwise. The op has the name of the class by default.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if belongs_to(cls.__module__, "ranvier.nn"):
            name = cls.__name__.lower()
            if "_op" not in vars(cls) and (name in FUNCTIONAL_OF or hasattr(ops, name)):
                cls._op = name
            types = {
                name: kind for name, kind in inspect.get_annotations(cls).items() if kind[:8] != "ClassVar"
            }
            if "__init__" not in vars(cls) and (types or not cls._settings):
                defaults = {name: vars(cls).get(name, Parameter.empty) for name in types}
                for name in vars(cls).keys() & types.keys():
                    delattr(cls, name)  # instances have it
                own = [Parameter(n, _KIND, default=defaults[n], annotation=kind) for n, kind in types.items()]
                cls._declare([*cls._settings.values(), *own])
            if cls._op in FUNCTIONAL_OF:  # its module is loaded with the first call
                cls._follow({"input": Parameter("input", _KIND), **cls._settings})
            elif hasattr(ops, cls._op):
                cls._follow(inspect.signature(getattr(ops, cls._op)).parameters)
        super().__init_subclass__(**kwargs)

    def _example(self) -> tuple[Any, ...] | None:
        example = (empty((0,) * 8),) * len(self._inputs)
        return example if {*self._settings} - {"inplace"} else None
