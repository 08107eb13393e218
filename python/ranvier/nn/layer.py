"""The base classes of layers that are one op: OneOp, and Layer, whose annotated attributes are the settings
of the op. Both generate the text of the constructor and of forward."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from inspect import Parameter
from typing import TYPE_CHECKING, Any, ClassVar

import ranvier.nn.functional as F
import ranvier.ops as ops
from ranvier.extension import belongs_to
from ranvier.nn.module import Module
from ranvier.ops.generated import made
from ranvier.ops.making.creation import empty
from ranvier.ops.table import FUNCTIONAL_OF
from ranvier.tensors.tensor import Tensor

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform as dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        return lambda kind: kind


_KIND = Parameter.POSITIONAL_OR_KEYWORD
_FUNCTIONAL = vars(F)
# The ops that layers call as functions of `nn.functional`. PyTorch's Sigmoid and Tanh do not.
_FUNCTIONS = {*dir(F)} - {"sigmoid", "tanh"}


class OneOp(Module):
    """A layer that is one op: its constructor takes the settings of the op, and forward takes the tensors."""

    _op: ClassVar[str] = ""  # the name of the op in ranvier.ops, or of a rare op in nn.functional
    _settings: ClassVar[dict[str, Parameter]] = {}
    _inputs: ClassVar[tuple[str, ...]] = ("input",)

    @classmethod
    def _declare(cls, settings: Iterable[Parameter]) -> None:
        """Makes the constructor, which takes these settings."""
        cls._settings = {setting.name: setting for setting in settings}
        given = ", ".join(f"{name!r}: {name}" for name in cls._settings)
        body = f"super(OneOp, self).__init__()\nself._set({{{given}}})"
        taken: list[Any] = ["self", *cls._settings.values()]
        cls.__init__ = made(f"{cls.__qualname__}.__init__", taken, body, globals(), "None")  # type: ignore[method-assign]
        if "_shown" not in vars(cls):
            cls._shown = tuple(name for name in cls._settings if name != "inplace")

    @classmethod
    def _follow(cls, of_op: Mapping[str, Parameter]) -> None:
        """Makes ``forward`` of this class. It is as fast as one written by hand: a general forward with loops
        and lookups would cost a third of a small call. of_op: the parameters of the op.

        The inputs of forward are the parameters of the op without defaults that are no settings.
        """
        required = [name for name, p in of_op.items() if p.default is Parameter.empty]
        cls._inputs = tuple(name for name in required if name not in cls._settings)
        if "forward" in vars(cls):
            return
        passed = [f"self.{name}" for name in of_op if name in cls._settings or name == "training"]
        if cls._op in _FUNCTIONS:
            op = f"F.{cls._op}"
        else:
            op = f"ops.{cls._op}"
        if cls._op in FUNCTIONAL_OF:  # a rare op is no attribute of `nn.functional`, if it is not replaced
            op = f"(_FUNCTIONAL.get({cls._op!r}) or ops._rare({FUNCTIONAL_OF[cls._op]!r}, {cls._op!r}))"
        taken: list[Any] = ["self", *(Parameter(name, _KIND, annotation=Any) for name in cls._inputs)]
        call = f"return {op}({', '.join([*cls._inputs, *passed])})"
        cls.forward = made(f"{cls.__qualname__}.forward", taken, call, globals(), Tensor)  # type: ignore[method-assign]

    def _set(self, settings: dict[str, Any]) -> None:
        """Stores the settings as attributes; subclasses first check and convert them."""
        for name, value in settings.items():
            setattr(self, name, value)


@dataclass_transform(eq_default=False)
class Layer(OneOp):
    """y = op(x, settings). The settings are the annotated attributes of a class, with their defaults.

    The constructor takes them in this order, and the op takes them by these names. The repr shows all except
    ``inplace``, unless ``_shown`` says otherwise. The op has the name of the class, in lower case, by
    default.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if belongs_to(cls.__module__, "ranvier.nn"):
            name = cls.__name__.lower()
            if "_op" not in vars(cls) and (name in FUNCTIONAL_OF or hasattr(ops, name)):
                cls._op = name
            own = [
                Parameter(key, _KIND, default=vars(cls).get(key, Parameter.empty), annotation=kind)
                for key, kind in inspect.get_annotations(cls).items()
                if not kind.startswith("ClassVar")
            ]
            if "__init__" not in vars(cls) and (own or not cls._settings):
                for setting in own:
                    if setting.default is not Parameter.empty:
                        delattr(cls, setting.name)  # The instances have the attribute.
                cls._declare([*cls._settings.values(), *own])
            if cls._op in FUNCTIONAL_OF:
                cls._follow({"input": Parameter("input", _KIND), **cls._settings})
            elif hasattr(ops, cls._op):
                cls._follow(inspect.signature(getattr(ops, cls._op)).parameters)
        super().__init_subclass__(**kwargs)

    def _example(self) -> tuple[Any, ...] | None:
        example = (empty((0,) * 8),) * len(self._inputs)
        if {*self._settings} - {"inplace"}:
            return example
        return None
