"""Compiled models: what `rv.compile` returns for a module.

A compiled model is an object whose class is made here for the class of the module. The made class inherits
from the module's class, and the object's ``__dict__`` is the ``__dict__`` of the module. So the compiled
model does all that the module does: attributes, operators, ``with``, hooks, ``modules()``. Only its call
differs: ``__call__`` is a slot that holds a compiled function. Eager runs and recordings call the module.
"""

from __future__ import annotations

import copy
import inspect
from _thread import get_ident
from collections.abc import Callable
from types import MemberDescriptorType
from typing import Any
from weakref import ref

from ranvier.compile.compiled_function import CompiledFunction
from ranvier.compile.policy import Policy
from ranvier.grad_mode import mode, no_grad
from ranvier.nn import Module
from ranvier.observe import current, observers, running
from ranvier.tensors.tensor import Tensor


class OfModel(Policy):
    """The policy of a compiled model's call: the forward pass of its module, replayed without a tape.

    Attributes:
        model: a weak reference to the compiled model.
        shown: the module whose attributes the model has: the module that is called, or the one that was set
            as `_orig_mod`.
        kind: the class of `shown` when it was last looked at.
    """

    forward_only = True
    model: Callable[[], Any]
    shown: Any
    kind: type

    def __reduce__(self) -> Any:
        return OfModel, ()

    def in_copies(self, function: Callable[..., Any]) -> Any:
        return self.shown

    def around_call(self, call: CompiledFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = off_tape(call, args, kwargs)
        if type(self.shown) is not self.kind:  # A lazy layer has got its size, and with it another class.
            model = self.model()
            if model is not None:
                serve(call, model, self.shown)
        return result


def off_tape(call: CompiledFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Makes a call of a model, also of one that is replayed unasked (`repeated.py`). Its programs have no
    tape, so the module itself runs where gradients may be needed, and inside another step."""
    module: Any = call._function
    # `running` has the threads in which a compiled function runs eagerly: this call is a part of its step.
    in_step = get_ident() in running or (observers and current() is not None)
    if in_step or (mode.enabled and (module.training or _any_requires_grad(args, kwargs))):
        return module(*args, **kwargs)
    with no_grad():  # Runs that are recorded or eager make no tape either.
        # For models the core passes resting calls to Python, too (`CompiledFunction._let_rest`).
        if call._warned and call._rests():
            return call._run_eagerly(module, args, kwargs)
        return call._answer(args, kwargs)


class CompiledModel:
    """The first base of the classes of compiled models: the methods in which these differ from the module.

    >>> import numpy as np, ranvier as rv
    >>> model = rv.nn.Linear(3, 2).eval()
    >>> fast = rv.compile(model)
    >>> x = np.ones((4, 3), np.float32)
    >>> for _ in range(3): y = fast(x)
    >>> bool((y == model(x)).all()), fast.in_features, fast == model
    (True, 3, True)
    """

    __call__: Any
    step_root = "__call__"  # in a step that calls the model, guards are on this (`library_guards.py`)

    def __init_subclass__(cls) -> None:
        """Hides the made class from a class of the user's that registers its subclasses here."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        kind = _module_class(cls)  # ``type(model)(...)`` makes a module, not a compiled model
        return kind.__new__(kind, *args, **kwargs)

    @property
    def __class__(self) -> Any:
        return type(module_of(self))

    @__class__.setter
    def __class__(self, kind: type) -> None:
        module_of(self).__class__ = kind
        serve(self.__call__, self, module_of(self))

    def __setattr__(self, name: str, value: Any) -> None:
        """Setting `_orig_mod` does what it does in PyTorch: the model gets the attributes of the new module,
        a call still runs the first module, and copies of the model call the new module."""
        if name != "_orig_mod":
            super().__setattr__(name, value)
        elif isinstance(value, Module):
            serve(self.__call__, self, module_of(value))
        else:
            raise TypeError(f"[compile] got {type(value).__name__} as _orig_mod; expected a module")

    def __repr__(self) -> str:
        return f"compiled {super().__repr__()}"

    # Copies and pickles are compiled, too, without programs. A pickle has an empty model first and its state
    # after it, because the state may refer to the model.
    def __copy__(self) -> Any:
        call = self.__call__
        return compiled_model(copy.copy(module_of(self)), call._verify, call._strict)

    __deepcopy__ = None  # copy and pickle use __reduce_ex__

    def __reduce_ex__(self, protocol: Any) -> Any:
        kind = type(module_of(self))
        if not _slots(kind):
            kind = Module  # `serve` gives the object its class; only one with slots needs them from the start
        return _blank, (kind,), self.__call__

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, CompiledFunction):
            serve(state, self)
        else:
            super().__setstate__(state)  # type: ignore[misc]


class _OfCall:
    """A descriptor: an attribute of the compiled function in the model's ``__call__``. If the module's class
    has the same name, the module's attribute is found first."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, model: Module, kind: type | None = None) -> Any:
        if model is None:
            return self
        return getattr(model.__call__, self._name)


class _Signature:
    """The signature of a compiled model or its class is that of the module or the module's class."""

    def __get__(self, model: Module, kind: type) -> inspect.Signature:
        if model is None:
            return inspect.signature(_module_class(kind))
        return inspect.signature(module_of(model))


class _Programs:
    """The last base: the names that a compiled model has if its module does not have them."""

    programs = _OfCall("programs")
    explain = _OfCall("explain")
    run = _OfCall("run")
    _orig_mod = property(lambda model: module_of(model))  # PyTorch's name


class _Class(type):
    """The metaclass of the made classes. A made class counts as the module's class: it is equal to this class
    (``type(fast) == type(model)``), and attributes set on it are set on the module's class."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return _module_class(cls)(*args, **kwargs)

    def __eq__(cls, other: object) -> bool:
        return cls is other or _module_class(cls) is other

    def __hash__(cls) -> int:
        return hash(_module_class(cls))

    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, _module_class(cls))

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, _module_class(cls))

    def __setattr__(cls, name: str, value: object) -> None:
        setattr(_module_class(cls), name, value)

    def __delattr__(cls, name: str) -> None:
        delattr(_module_class(cls), name)


def compiled_model(module: Module, verify: bool | int = True, strict: bool = False) -> Any:
    """The compiled model of a module."""
    model = _blank(type(module))
    serve(CompiledFunction(module, verify, strict, OfModel()), model)
    return model


def serve(call: CompiledFunction, model: Any, shown: Any = None) -> None:
    """Sets `call` as the call of this model, and gives the model the attributes of `call`'s module, or of
    the module `shown`."""
    policy: Any = call._policy
    policy.shown = call._function if shown is None else shown
    policy.model = ref(model)
    policy.kind = type(policy.shown)
    object.__setattr__(model, "__call__", call)
    object.__setattr__(model, "__dict__", policy.shown.__dict__)
    _SET_CLASS(model, _class_for(policy.kind))


def module_of(model: Any) -> Any:
    """The module of a compiled model; any other object itself."""
    if isinstance(model, CompiledModel):
        return model.__call__._policy.shown
    return model


def _blank(kind: type) -> Any:
    """A model without a call, which `serve` sets. Pickles refer to this function by its name."""
    return object.__new__(_class_for(kind))


def _class_for(kind: type) -> Any:
    """The class of the compiled models for modules of the class `kind`; made once for each."""
    known: list[Any] = type.__subclasses__(kind)
    for made in known:
        if made.__bases__[0] is CompiledModel:
            return made
    members: dict[str, Any] = {name: _slot(member) for name, member in _slots(kind)}
    for name in ("__module__", "__qualname__", "__doc__"):
        members[name] = getattr(kind, name)
    members["__slots__"] = ("__call__",)
    members["__signature__"] = _Signature()
    # A class with its own `__eq__` compares attributes, and the model shares those of the module.
    if vars(object)["__eq__"] is kind.__eq__:
        members["__eq__"] = _is_same
        members["__hash__"] = _hash
    if hasattr(kind, "__del__"):  # `__del__` must run once, when the module itself ends.
        members["__del__"] = _does_nothing
    meta: type = _Class
    if type(kind) is not type:
        meta = type(type(kind).__name__, (_Class, type(kind)), {})
    # `type.__new__` instead of a call of `meta`, so that `__new__` of a metaclass of the user's does not run.
    return type.__new__(meta, kind.__name__, (CompiledModel, kind, _Programs), members)


def _module_class(kind: type) -> Any:
    """The class of the module, of a class that `_class_for` has made."""
    return kind.__bases__[1]


def _slots(kind: type) -> list[tuple[str, Any]]:
    """(name, descriptor) of each member in ``__slots__`` of a class and its bases."""
    members = [pair for base in kind.__mro__ for pair in vars(base).items()]
    return [(name, x) for name, x in members if type(x) is MemberDescriptorType]


def _slot(member: Any) -> property:
    """A property of the model that reads and writes a slot of its module, which is not in ``__dict__``."""

    def read(model: Module) -> Any:
        return member.__get__(module_of(model))

    def write(model: Module, value: object) -> None:
        member.__set__(module_of(model), value)

    def delete(model: Module) -> None:
        member.__delete__(module_of(model))

    return property(read, write, delete)


def _hash(model: Module) -> int:
    return hash(module_of(model))


def _does_nothing(model: Module) -> None:
    pass


def _is_same(model: Any, other: Any) -> Any:
    return module_of(model) is module_of(other) or NotImplemented


def _any_requires_grad(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(isinstance(x, Tensor) and x.requires_grad for x in (*args, *kwargs.values()))


# Sets the real class of an object: `model.__class__ = ...` calls the setter of CompiledModel instead.
_SET_CLASS = vars(object)["__class__"].__set__
