"""Changes in place of batched Tensors (tensors/batched.py): `tape/inplace.py` passes them to this module.

A batched Tensor is changed by a change of its `value`, the Tensor of all slices, which has the history. So
views see it, and what `tape/inplace.py` says holds for it.

A Tensor that the function of vmap has made, such as ``y = rv.zeros(3)``, is the same for all slices. When a
value that differs from slice to slice is written to it, it becomes batched itself, with its views
(`_spread`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np

from ranvier.func.batching import on_slices
from ranvier.func.batching_rules.shape import place_of_picked
from ranvier.nn.parameter import Parameter
from ranvier.ops.elementwise.choice import masked_fill, where
from ranvier.ops.making.creation import arange
from ranvier.ops.shape.reshape import movedim, reshape
from ranvier.tape import inplace
from ranvier.tape.function import Function
from ranvier.tensors.batched import (
    BatchedTensor,
    Level,
    SlicesError,
    active_levels,
    batched_array,
    innermost,
    level_of,
    physical,
    value_at,
)
from ranvier.tensors.keys import index_error, raw_index, split, tuple_of
from ranvier.tensors.picks import Picks, picks_of
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.views import base_of, is_shared, sharing, views_of

_ALL = slice(None)


def concerns(*values: Any) -> bool:
    """True if one of these Tensors, arrays or parts of a key is batched."""
    return innermost(values) is not None


def assign(tensor: Tensor, result: Tensor, name: str) -> Tensor:
    """`inplace.assign`, where one of the Tensors is batched."""
    level = _made_batched(tensor, name, tensor, result)
    on_slices(level, inplace.assign, _slices(tensor), value_at(result, level), name)
    return _renewed(tensor)


def of_each_element(
    tensor: Tensor, name: str, change: Callable[..., Tensor], args: Sequence[Any], settings: dict[str, Any]
) -> Tensor:
    """An element-wise change in place, such as add_, of a batched tensor. name: for errors."""
    level = _made_batched(tensor, name, tensor, args, settings)
    aligned = [_aligned(x, tensor.ndim, level) if _is_array(x) else x for x in args]
    named = {name: _aligned(x, tensor.ndim, level) if _is_array(x) else x for name, x in settings.items()}
    on_slices(level, partial(change, **named), _slices(tensor), *aligned)
    return _renewed(tensor)


def _is_array(x: Any) -> bool:
    return isinstance(x, (Tensor, np.ndarray))


def replace_all(tensor: Tensor, src: Any, name: str, replace: Callable[[Tensor, Any], Tensor]) -> Tensor:
    """All elements of a tensor replaced by those of src, one of them batched. replace: the op."""
    level = _made_batched(tensor, name, tensor, src)
    on_slices(level, replace, _slices(tensor), _aligned(src, tensor.ndim, level))
    return _renewed(tensor)


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """x[key] = value, where x, the value or an array of the key is batched."""
    level = _made_batched(x, "setitem", x, value, key)
    key = tuple_of(key)
    if _gives_view(key):
        _set_view(x, key, value, level)
        return
    mask = _only_mask(key)
    if mask is not None:
        _set_where(x, mask, value)
        return
    shape = tuple(x.shape)
    raw = raw_index(key)
    basic, _, axes, _ = split(raw, shape)
    slices = _slices(x)
    if axes:
        _set_picked(slices, picks_of(raw, shape), value, level)
        _renewed(x)
    else:
        _set_view(x, basic, value, level)


def _gives_view(key: Any) -> bool:
    """True if the key has only whole numbers of Python, slices, None and Ellipsis."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(type(part) in _OF_VIEWS for part in parts)


_OF_VIEWS = frozenset((int, slice, type(None), type(Ellipsis)))


def _set_view(x: Tensor, key: Any, value: Any, level: Level) -> None:
    """x[key] = value for a key that gives a view."""
    parts = key if isinstance(key, tuple) else (key,)
    if _is_array(value):
        try:
            part = np.ndarray.__getitem__(x._array, (*parts, Ellipsis) if Ellipsis not in parts else parts)
        except IndexError as error:
            raise index_error("setitem", key, tuple(x.shape), error) from None
        value = _aligned(value, part.ndim, level)
    of_slices = (_ALL, *parts)
    on_slices(level, inplace.setitem, _slices(x), of_slices, value)
    _renewed(x)


def _set_picked(slices: Tensor, picks: Picks, value: Any, level: Level) -> None:
    """Writes to the elements of each slice that a key with arrays picks."""
    view = slices
    if picks.basic.count(_ALL) < len(picks.basic):
        basic = (_ALL, *picks.basic)
        view = slices[basic]
    axes = picks.axes
    ndim = view.ndim - 1 - len(axes) + len(picks.shape)
    values = _aligned(value, ndim, level)
    keys: list[Any] = [_ALL] * (axes[-1] + 2)
    for axis, array in zip(axes, picks.arrays, strict=True):
        keys[axis + 1] = _index(array, len(picks.shape), level)
    differs = any(level_of(array) is level for array in picks.arrays)
    are_neighbours = axes[-1] - axes[0] == len(axes) - 1
    if differs or not are_neighbours:
        # An index of the slices, too: then the picked dimensions come after that of the slices.
        keys[0] = arange(level.size).reshape(-1, *(1,) * len(picks.shape))
        values = _picked_first(values, ndim, picks, level)
    on_slices(level, inplace.setitem, view, tuple(keys), values)


def _index(array: Any, ndim: int, level: Level) -> Tensor:
    """A copy of an index array, for all slices, whose slices have `ndim` dimensions if they differ."""
    index = wrap(array)
    if level_of(array) is not level:
        return index.clone()
    missing = (1,) * (ndim - array.ndim)
    return _slices(index).clone().reshape(level.size, *missing, *array.shape)


def _picked_first(values: Any, ndim: int, picks: Picks, level: Level) -> Any:
    """The values for a key whose picked dimensions are moved to the front of those of a slice."""
    place = place_of_picked(picks)
    if place == 0 or not isinstance(values, (Tensor, np.ndarray)):
        return values
    tensor = values if isinstance(values, Tensor) else wrap(values)
    # Values that all slices share may lack the dimension of the slices, and leading ones.
    whole = reshape(tensor, (*(1,) * (1 + ndim - tensor.ndim), *tensor.shape))
    picked = range(1, 1 + len(picks.shape))
    return movedim(whole, tuple([dim + place for dim in picked]), tuple(picked))


def _only_mask(key: Any) -> Tensor | None:
    """The mask, batched, that is the whole key; else None."""
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) != 1 or not isinstance(parts[0], Tensor) or level_of(parts[0]) is None:
        return None
    (mask,) = parts
    if mask.dtype == np.uint8:
        return mask != 0
    if mask.dtype == np.bool_:
        return mask
    return None


def _set_where(x: Tensor, mask: Tensor, value: Any) -> None:
    """x[mask] = value, for a value that broadcasts to each picked part."""
    inplace.check_leaf(x, "setitem")
    if mask.shape != x.shape[: mask.ndim]:
        raise IndexError(f"[setitem] got a mask of shape {mask.shape} for x of shape {x.shape}")
    rest = x.ndim - mask.ndim
    whole = reshape(mask, (*mask.shape, *(1,) * rest))
    if not isinstance(value, (Tensor, np.ndarray)):
        assign(x, masked_fill(x, whole, value), "setitem")
        return
    tensor = value if isinstance(value, Tensor) else wrap(value)
    if tensor.ndim > rest:
        raise SlicesError(
            f"[setitem] got values of shape {tensor.shape} for the elements that a mask picks, whose number "
            "differs from slice to slice; expected a number, or x = where(mask, values, x)"
        )
    assign(x, where(whole, tensor.to(x.dtype), x), "setitem")


# --- the Tensor of all slices


def _slices(tensor: Tensor) -> Tensor:
    value: Tensor = tensor._array.value  # type: ignore[attr-defined]
    return value


def _renewed(tensor: Tensor) -> Tensor:
    """The tensor after a change of its value, which may have got other memory."""
    level = tensor._array.level  # type: ignore[attr-defined]
    tensor._array = batched_array(_slices(tensor), level)
    return tensor


def _aligned(value: Any, ndim: int, level: Level) -> Any:
    """A value that broadcasts to the slices of a Tensor, each with `ndim` dimensions. As in PyTorch, leading
    dimensions of size 1 that a slice does not have are dropped."""
    is_batched = level_of(value) is level
    own = np.ndim(getattr(value, "_array", value))
    if own == ndim or (own < ndim and not is_batched):
        return _slices(value) if is_batched else value
    tensor = value if isinstance(value, Tensor) else wrap(np.asarray(value))
    shape = tuple(tensor.shape)
    extra = own - ndim
    if extra > 0 and shape[:extra] == (1,) * extra:
        shape = shape[extra:]
    elif extra < 0:
        shape = (*(1,) * -extra, *shape)
    if is_batched:
        return _slices(tensor).reshape(level.size, *shape)
    return tensor.reshape(shape)


def _made_batched(tensor: Tensor, name: str, *operands: Any) -> Level:
    """The innermost level of the operands, by which the tensor to be changed is batched from now on."""
    level = innermost(operands)
    assert level is not None
    if level_of(tensor) is not level:
        _spread(tensor, level, name)
    return level


def _spread(tensor: Tensor, level: Level, name: str) -> None:
    """Makes a Tensor that is the same for all slices, and its views, batched: a copy for each slice."""
    if not _is_made_within(tensor, level):
        raise SlicesError(
            f"[{name}] got a Tensor from outside of vmap, and a change of it in place by values that differ "
            "from slice to slice; expected a Tensor of the function's own: clone() it"
        )
    if isinstance(tensor, BatchedTensor):  # by an outer level
        if is_shared(physical(tensor)):
            _refuse_shared(name)
        tensor._array = batched_array(_copies(wrap(tensor._array), level), level)
        return
    base: Any = tensor
    if tensor._view is not None:
        base = base_of(tensor)
    if base is None:
        _refuse_shared(name)
    views: list[Any] = views_of(base)
    family = [base, *views]
    cell = base._cell
    is_known = all(any(other is one for one in family) for other in sharing(base))
    can_change = all(_can_become_batched(one) for one in family) and not any(view._view[2] for view in views)
    if not is_known or not can_change or cell.unwatched or cell.aliased:
        _refuse_shared(name)
    chains = [view._view[1] for view in views]
    is_leaf = base._requires_grad and base._grad_fn is None
    before = wrap(base._array)
    before._requires_grad = base._requires_grad and not is_leaf
    before._grad_fn = base._grad_fn
    copies = _copies(before, level)
    copies._requires_grad = copies._requires_grad or is_leaf
    _become(base, batched_array(copies, level))
    for view, chain in zip(views, chains, strict=True):
        repeated = _repeated(chain, base)
        _become(view, repeated._array)


def _can_become_batched(tensor: Tensor) -> bool:
    """True of Tensors and parameters, not of classes of a program."""
    return type(tensor) in (Tensor, Parameter)


def _is_made_within(tensor: Tensor, level: Level) -> bool:
    """True if the memory of the tensor was made within this call of vmap."""
    number = tensor._cell.call
    return any(one.number == number for one in active_levels()[level.depth :])


def _refuse_shared(name: str) -> NoReturn:
    raise SlicesError(
        f"[{name}] got a Tensor that is the same for all slices and shares its memory (detach(), "
        "numpy() ...), and a change in place by values that differ; expected memory of its own: clone() it"
    )


def _copies(x: Tensor, level: Level) -> Tensor:
    """A copy of x for each slice, along dimension 0."""
    return x.unsqueeze(0).expand(level.size, *x.shape).clone()


def _become(tensor: Tensor, array: Any) -> None:
    """Makes an ordinary Tensor the batched one of this array."""
    tensor._requires_grad = False  # The value has the history.
    tensor._grad_fn = None
    tensor._view = None
    tensor._array = array
    tensor.__class__ = BatchedTensor


def _repeated(chain: Sequence[Function], base: Tensor) -> Tensor:
    """The view of a batched base that the Functions of a chain give."""
    view = base
    for function in chain:
        node = object.__new__(type(function))
        vars(node).update(vars(function))
        view = node.apply(view)
    return view


inplace.set_changes_of_slices(
    inplace.ChangesOfSlices(concerns, assign, replace_all, setitem, of_each_element)
)
