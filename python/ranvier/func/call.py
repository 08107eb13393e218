"""functional_call: calls a module with other parameters and buffers, which it has for this one call only."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ranvier.nn.registry import set_tensor
from ranvier.observe import Lock
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor

if TYPE_CHECKING:
    from ranvier.nn import Module

Dicts: TypeAlias = Mapping[str, Tensor | None] | Sequence[Mapping[str, Tensor | None]]
"""Values of parameters and buffers by name, in one dict or in several with different names."""


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Dicts,
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
    values = _merge_dicts(parameter_and_buffer_dicts)
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with _reserved_for_thread(module), _replaced_values(module, values, tie_weights, strict) as places:
        try:
            return module(*args, **(kwargs or {}))
        finally:
            if isinstance(parameter_and_buffer_dicts, dict):
                # What the call has assigned is put into the dict, before the block ends and the module has
                # its own values again.
                for name, value in values.items():
                    owner, attribute = places[name]
                    current = owner.get(attribute, value)
                    if current is not value:
                        parameter_and_buffer_dicts[name] = current


@contextmanager
def reparametrized(
    module: Module, parameters_and_buffers: Dicts, tie_weights: bool = False, strict: bool = False
) -> Iterator[None]:
    """A block in which a module has other parameters and buffers; torch.nn.utils.stateless has it."""
    values = _merge_dicts(parameters_and_buffers)
    with _reserved_for_thread(module), _replaced_values(module, values, tie_weights, strict):
        yield


def _merge_dicts(dicts: Dicts) -> dict[str, Tensor | None]:
    """The values of one or several dicts by name, checked."""
    several: list[Any] = list(dicts) if isinstance(dicts, (list, tuple)) else [dicts]
    if not all(isinstance(one, dict) for one in several):
        raise TypeError(f"[functional_call] got {type(dicts).__name__}; expected a dict, or a tuple of dicts")
    values: dict[str, Tensor | None] = {}
    for one in several:
        values.update(one)
    if len(values) < sum(map(len, several)):
        raise OpError("[functional_call] got a name in several dicts; expected each once")
    for name, value in values.items():
        if not isinstance(name, str) or not (value is None or isinstance(value, Tensor)):
            raise TypeError(f"[functional_call] got {type(value).__name__} for {name!r}; expected a Tensor")
    return values


_threads: dict[int, int] = {}  # id of a module -> the thread that is within functional_call of it
_lock = Lock()  # held by the thread that reads and changes `_threads`


@contextmanager
def _reserved_for_thread(module: Module) -> Iterator[None]:
    """A block in which no other thread may replace values of this module; RuntimeError if one does."""
    this_thread = threading.get_ident()
    wanted = {id(m) for m in module.modules()}
    with _lock:
        if any(_threads.get(one, this_thread) != this_thread for one in wanted):
            raise RuntimeError(
                "[functional_call] got a module that another thread calls with other parameters; expected a "
                "copy for each thread"
            )
        added = wanted - _threads.keys()  # without those of a call around this one
        _threads.update(dict.fromkeys(added, this_thread))
    try:
        yield
    finally:
        with _lock:
            for one in added:
                del _threads[one]


class _Place(NamedTuple):
    """Where a module has a parameter or buffer."""

    owner: dict[str, Any]  # the ``__dict__`` of the layer
    attribute: str


_ABSENT = object()  # marks a place without a value: a parameter may be None


@contextmanager
def _replaced_values(
    module: Module, values: dict[str, Tensor | None], tie_weights: bool, strict: bool
) -> Iterator[dict[str, _Place]]:
    """A block in which the module has these values. Gives the place of each by name."""
    named: dict[str, Tensor] = dict(module.named_parameters(remove_duplicate=False))
    named |= module.named_buffers(remove_duplicate=False)
    if tie_weights:
        values = _with_tied_names(named, values)
    missing = named.keys() - values.keys()
    unknown = values.keys() - named.keys()
    if strict and (missing or unknown):
        raise RuntimeError(
            f"[functional_call] got strict=True, missing {sorted(missing)} and unknown names "
            f"{sorted(unknown)}; expected those of the parameters and buffers"
        )
    places = {name: _find_place(module, name) for name in values}
    before = [place.owner.get(place.attribute, _ABSENT) for place in places.values()]
    try:
        for name, value in values.items():
            set_tensor(places[name].owner, places[name].attribute, value)
        yield places
    finally:
        for place, value in zip(places.values(), before, strict=True):
            if value is _ABSENT:
                place.owner.pop(place.attribute, None)
            else:
                set_tensor(place.owner, place.attribute, value)


def _with_tied_names(named: dict[str, Tensor], values: dict[str, Tensor | None]) -> dict[str, Tensor | None]:
    """The values, also under the other names of tied Tensors. named: the Tensors of the module by name."""
    names_of_tensor: dict[int, list[str]] = {}
    for name, x in named.items():
        names_of_tensor.setdefault(id(x), []).append(name)
    all_values = dict(values)
    for tied in names_of_tensor.values():
        different = {id(values[name]): values[name] for name in tied if name in values}
        if len(different) > 1:
            raise OpError(
                f"[functional_call] got several values for the tied names {tied}; expected one, or "
                "tie_weights=False"
            )
        for value in different.values():
            all_values.update(dict.fromkeys(tied, value))
    return all_values


def _find_place(module: Module, name: str) -> _Place:
    """Where the module has the parameter or buffer of this name, as in ``state_dict``."""
    path, _, attribute = name.rpartition(".")
    owner = module.get_submodule(path).__dict__
    if not isinstance(owner.get(attribute), (Tensor, type(None))):
        raise TypeError(f"[functional_call] got {name!r}; expected the name of a parameter or buffer")
    return _Place(owner, attribute)
