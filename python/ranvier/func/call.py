"""functional_call: calls a module with other parameters and buffers, which it has for this one call only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ranvier.nn.registry import set_tensor
from ranvier.observe import Lock
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with other parameters and buffers, by their names as in ``state_dict``.

    parameter_and_buffer_dicts: a dict, or several with different names. args: a tuple, or one argument.
    Parameters and buffers that are not given stay the module's. Gradients flow to the given Tensors. If the
    call changes a parameter or buffer in place, as BatchNorm changes its running mean, the given Tensor is
    changed; if the call assigns a new Tensor, this is put into the dict. Afterwards, also after an exception,
    the module is as before. Each thread needs its own copy of the module: RuntimeError if another thread is
    within functional_call of the module. A plain call by another thread would use the given values.

    tie_weights: a value for one name of a tied Tensor is used for all its names. strict: raises
    RuntimeError if names are missing or unknown. Raises ValueError for a name in two dicts and for several
    values of tied names, TypeError for a value that is no Tensor, AttributeError for an unknown layer.

    >>> import ranvier as rv
    >>> given = {"weight": rv.ones(1, 2), "bias": rv.zeros(1)}
    >>> rv.func.functional_call(rv.nn.Linear(2, 1), given, rv.tensor([[1.0, 2.0]]))
    tensor([[3.]])
    """
    refuse_torch("functional_call", "a module", module)
    if not hasattr(module, "modules"):
        raise TypeError(f"[functional_call] got {type(module).__name__}; expected a Module")
    replaced = _merged(parameter_and_buffer_dicts)
    if args is None:
        args = ()
    elif isinstance(args, tuple):
        args = args
    else:
        args = (args,)
    with _reserved(module), _replaced(module, replaced, tie_weights, strict) as places:
        try:
            return module(*args, **(kwargs or {}))
        finally:
            for name, value in replaced.items():
                owner, attribute = places[name]
                if isinstance(parameter_and_buffer_dicts, dict) and owner.get(attribute, value) is not value:
                    parameter_and_buffer_dicts[name] = owner[attribute]


@contextmanager
def reparametrized(
    module: Any, parameters_and_buffers: Any, tie_weights: bool = False, strict: bool = False
) -> Iterator[None]:
    """A block in which a module has other parameters and buffers; torch.nn.utils.stateless has it."""
    with _reserved(module), _replaced(module, _merged(parameters_and_buffers), tie_weights, strict):
        yield


def _merged(dicts: Any) -> dict[str, Any]:
    """The values of one or several dicts by name, checked."""
    several = list(dicts) if isinstance(dicts, (list, tuple)) else [dicts]
    if not all(isinstance(one, dict) for one in several):
        raise TypeError(f"[functional_call] got {type(dicts).__name__}; expected a dict, or a tuple of dicts")
    values = {name: value for one in several for name, value in one.items()}
    if len(values) < sum(map(len, several)):
        raise OpError("[functional_call] got a name in several dicts; expected each once")
    for name, value in values.items():
        if not isinstance(name, str) or not (value is None or isinstance(value, Tensor)):
            raise TypeError(f"[functional_call] got {type(value).__name__} for {name!r}; expected a Tensor")
    return values


_ABSENT = object()  # marks a name without a value
_threads: dict[int, int] = {}  # id of a module -> the thread that is within functional_call of it
_lock = Lock()


@contextmanager
def _reserved(module: Any) -> Iterator[None]:
    """A block in which no other thread may replace values of this module; RuntimeError if one does."""
    here, wanted = threading.get_ident(), {id(m) for m in module.modules()}
    with _lock:
        if any(_threads.get(one, here) != here for one in wanted):
            raise RuntimeError(
                "[functional_call] got a module that another thread calls with other parameters; expected a "
                "copy for each thread"
            )
        added = wanted - _threads.keys()
        _threads.update(dict.fromkeys(added, here))
    try:
        yield
    finally:
        with _lock:
            for one in added:
                del _threads[one]


@contextmanager
def _replaced(module: Any, replaced: dict[str, Any], tie: bool, strict: bool) -> Iterator[dict[str, Any]]:
    """A block in which the module has the values `replaced`.

    Gives a dict by name: (the ``__dict__`` of the layer that has the parameter or buffer, its name there).
    """
    named = dict(module.named_parameters(remove_duplicate=False))
    named |= module.named_buffers(remove_duplicate=False)
    values = dict(replaced)
    if tie:
        places_of: dict[int, list[str]] = {}
        for name, x in named.items():
            places_of.setdefault(id(x), []).append(name)
        for tied in places_of.values():
            given = {id(replaced[name]): replaced[name] for name in tied if name in replaced}
            if len(given) > 1:
                raise OpError(
                    f"[functional_call] got several values for the tied names {tied}; expected one, or "
                    "tie_weights=False"
                )
            for value in given.values():
                values.update(dict.fromkeys(tied, value))
    missing = named.keys() - values.keys()
    unknown = replaced.keys() - named.keys()
    if strict and (missing or unknown):
        raise RuntimeError(
            f"[functional_call] got strict=True, missing {sorted(missing)} and unknown names "
            f"{sorted(unknown)}; expected those of the parameters and buffers"
        )
    places = {}
    for name in values:
        path, _, attribute = name.rpartition(".")
        places[name] = owner = module.get_submodule(path).__dict__, attribute
        if not isinstance(owner[0].get(attribute), (Tensor, type(None))):
            raise TypeError(f"[functional_call] got {name!r}; expected the name of a parameter or buffer")
    before = [(owner, name, owner.get(name, _ABSENT)) for owner, name in places.values()]
    try:
        for (owner, name), value in zip(places.values(), values.values(), strict=True):
            set_tensor(owner, name, value)
        yield places
    finally:
        for owner, name, value in reversed(before):
            if value is _ABSENT:
                owner.pop(name, None)
            else:
                set_tensor(owner, name, value)
