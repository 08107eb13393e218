"""Changes of a Tensor in place, and the history of Tensors that share its memory.

Off the tape, the memory is written, and the count of changes is increased. On the tape, the tensor gets the
result and the history of the ordinary operation, in one of two ways:
- If no other tensor shares its memory, it takes the memory of the result (`_exchange`), so that the arrays
  which earlier Functions have saved stay as they were.
- Otherwise the memory is written, and backward raises an error if a Function has saved it. As in PyTorch, the
  base of a changed view gets a new history, in which the view's elements come from the result, and the
  history of each view of the base starts at the new one (`take_over`).

`_cell` and `_view` of a tensor, which say what shares its memory, are explained in `tensors/views.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import mode
from ranvier.observe import current, is_written, observers, tell
from ranvier.tape.copy_functions import Put, Refused, Replace, Setitem
from ranvier.tape.function import Output, into, watched
from ranvier.tensors.dtypes import can_cast
from ranvier.tensors.failures import OpError
from ranvier.tensors.keys import index_error, numbers_first, raw_index, tuple_of
from ranvier.tensors.memory import (
    HALVES,
    SOLE,
    Array,
    copied,
    fill_number,
    is_batched,
    require_writeable,
    write,
)
from ranvier.tensors.places import picked, put
from ranvier.tensors.recording import references
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.views import (
    as_node,
    base_of,
    before_writing,
    bump,
    chained,
    change_history,
    count_change,
    overlaps,
    place_numbers,
    refuse_leaf,
    refuse_overlap,
    renew,
    sharing,
    stands_alone,
    views_of,
)

if TYPE_CHECKING:
    from ranvier.tape.function import Function, Target
    from ranvier.tensors.types import Key, TensorLike


class ChangesOfSlices(NamedTuple):
    """How batched Tensors are changed in place (func/batched_changes.py)."""

    concern: Callable[..., bool]  # whether one of the operands is batched
    assign: Callable[[Tensor, Tensor, str], Tensor]
    replace_all: Callable[..., Tensor]
    setitem: Callable[[Tensor, Any, Any], None]
    of_each_element: Callable[..., Tensor]


_of_slices: ChangesOfSlices | None = None  # None until vmap is used


def set_changes_of_slices(changes: ChangesOfSlices) -> None:
    global _of_slices
    _of_slices = changes


def change_elements(
    tensor: Tensor, name: str, change: Callable[..., Tensor], args: Sequence[Any], settings: dict[str, Any]
) -> Tensor:
    """``change(tensor, *args, **settings)``, a change in place of each element, of a batched Tensor. name: of
    the op, for errors."""
    assert _of_slices is not None
    return _of_slices.of_each_element(tensor, name, change, args, settings)


def assign(tensor: Tensor, result: Tensor, name: str) -> Tensor:
    """Gives the tensor the value of the result and, on the tape, its history.

    name: the op, which errors begin with. Callers refuse leaves first (`check_leaf`).
    """
    if result is tensor:
        return tensor
    if not isinstance(result, Tensor):  # a tensor of one whole number times a list repeats the list
        raise TypeError(f"[{name}] got a result of type {type(result).__name__}; expected a Tensor")
    recorded = (tensor._requires_grad or result._requires_grad) and mode.enabled
    array = tensor._array
    value = result._array
    if array.shape != value.shape:
        raise RuntimeError(
            f"[{name}] got a result of shape {value.shape} for a tensor of shape {array.shape}; expected that"
        )
    if value.dtype is not array.dtype and not can_cast(value.dtype, array.dtype):
        raise RuntimeError(
            f"[{name}] got a result of dtype {value.dtype} for a tensor of {array.dtype}; "
            "expected a dtype that it can hold"
        )
    if _of_slices is not None and _of_slices.concern(tensor, result):
        return _of_slices.assign(tensor, result, name)
    if recorded:
        if not result._requires_grad:  # such as a comparison: then the old values get no gradient
            result = Put().apply(tensor, result)
        if result._array.dtype != array.dtype:
            result = result.to(array.dtype)
        take_over(tensor, result, name)
    else:
        store(tensor, value, name)
    return tensor


def overwrite(tensor: Tensor, node: Any, name: str) -> Tensor:
    """Does what ``assign(tensor, node.apply(tensor), name)`` does, but in the tensor's memory, unless
    something else still needs the old values. As for `assign`, the caller has called `check_leaf`.

    node: a Function whose ``forward(array, out)`` writes to out. If its backward ``reads_old`` values, they
        are copied.
    """
    recorded = tensor._requires_grad and mode.enabled
    if tensor._array.dtype in HALVES:
        halves = node.dtypes.halves
        computed_in_float32 = halves == "float32" or (halves == "forward" and recorded)
    else:
        computed_in_float32 = False
    is_sole = _is_sole(tensor)
    step = current()
    # Under an observer the call of the Function must be seen, except off the tape in a recording of
    # rv.compile, which records the kernel calls. (A recording for a file, in another form, has `keeps`.)
    is_observed = observers and (recorded or step is None or step.keeps)
    changes_slices = is_batched(tensor._array)
    if computed_in_float32 or is_observed or changes_slices or (recorded and not is_sole):
        return assign(tensor, node.apply(tensor), name)
    if recorded:
        result = _applied_in_place(node, tensor)
        _exchange(tensor, result)
        return tensor
    if is_sole and observers:  # In a recording, new memory for the result lets the program merge calls.
        tensor._array = node.apply(tensor)._array
    else:
        _before_store(tensor, name, tensor._array)
        node.forward(tensor._array, tensor._array)
    bump(tensor)
    return tensor


def _applied_in_place(node: Any, tensor: Tensor) -> Tensor:
    """The result of ``node.apply(tensor)``, written over the tensor's array."""
    forward = node.forward

    def forward_in_place(array: Array) -> Array:
        x = copied(array) if node.reads_old else array
        result: Array = forward(x, array)
        return result

    # `apply` finds it before the method. It is removed again: attributes count as what forward has saved.
    vars(node)["forward"] = forward_in_place
    result: Tensor = node.apply(tensor)
    del vars(node)["forward"]
    return result


def _is_sole(tensor: Tensor) -> bool:
    """True if nothing except the tensor refers to its array, or to another array of the same memory."""
    array = tensor._array
    cell = tensor._cell
    shares = tensor._view is not None or cell.unwatched or (cell.links and sharing(tensor))
    if shares or type(array.base) is np.ndarray or not array.flags.writeable:
        return False
    # The cell and a recording may refer to the array, too; these references do not count.
    return sys.getrefcount(array) <= SOLE + (cell.changed_last is array) + references(array)


def written(name: str, out: Tensor, result: Tensor) -> Any:
    """PyTorch's out=: writes the result to the memory of the tensor `out` of its shape, off the tape."""
    shape = getattr(result, "shape", None)
    if not isinstance(out, Tensor) or out.shape != shape:
        if isinstance(out, Tensor):
            got = f"shape {out.shape}"
        else:
            got = type(out).__name__
        raise OpError(f"[{name}] got out of {got}; expected a Tensor of shape {shape}")
    if (out._requires_grad or result._requires_grad) and mode.enabled:
        raise RuntimeError(f"[{name}] got out and tensors that require gradients; expected none of them")
    return assign(out, result, name)


def store(tensor: Tensor, value: TensorLike, name: str) -> None:
    """Writes a number or an array to the memory of a tensor, off the tape."""
    array = tensor._array
    may_depend_on_order = np.size(value) != 1 and value is not array
    _before_store(tensor, name, array if may_depend_on_order else None)
    write(tensor._array, value, name)
    bump(tensor)
    if observers:
        tell("stored", tensor, value)


def _before_store(tensor: Tensor, name: str, places: Array | None) -> None:
    """What must be done before all of a tensor is written. places: as in `before_writing`."""
    require_writeable(name, tensor._array)
    if tensor._grad_fn is not None or tensor._cell.links:
        _keep_results(tensor)
    # A view without its base, as of detach(), may overlap, too.
    if tensor._view is not None or tensor._cell.borrowed or not tensor._array.flags.c_contiguous:
        before_writing(tensor, name, places)


def _passes_gradients(value: TensorLike, tensor: Tensor) -> bool:
    """True if the value requires gradients and the tensor it is written to has floats, which have
    gradients."""
    return getattr(value, "requires_grad", False) and tensor._array.dtype.kind == "f"


def check_leaf(tensor: Tensor, name: str) -> None:
    """Refuses to change a leaf that requires gradients, or a view of one, while they are recorded."""
    if not (tensor._requires_grad and mode.enabled):
        return
    if tensor._grad_fn is None:
        refuse_leaf(name, "a leaf Variable")
    if tensor._view is not None:
        base, _, refusal = tensor._view
        if not refusal and base._grad_fn is None:
            refuse_leaf(name, "a view of a leaf Variable")


def setitem(x: Tensor, key: Key, value: TensorLike) -> None:
    """x[key] = value"""
    _set_places(x, key, value)


@into(_core._put)
def _set_places(x: Tensor, key: Key, value: TensorLike) -> None:
    """x[key] = value where the core does not do it: on the tape, under observers, for rare keys."""
    check_leaf(x, "setitem")
    if _of_slices is not None and _of_slices.concern(x, key, value):
        _of_slices.setitem(x, key, value)
        return
    key = tuple_of(key)
    try:
        recorded = (x._requires_grad or _passes_gradients(value, x)) and mode.enabled
        if recorded or is_written():
            assign(x, watched(Setitem(raw_index(key)).apply(x, value), key), "setitem")
        else:
            _write_places(x, key, getattr(value, "_array", value))
    except IndexError as error:
        raise index_error("setitem", key, x._array.shape, error) from None


def _write_places(x: Tensor, key: Key, value: TensorLike) -> None:
    """x[key] = value off the tape."""
    require_writeable("setitem", x._array)
    _keep_results(x)
    places = _core._places(x._array, key)
    keys = ()
    if places is None:
        keys = numbers_first(raw_index(key), x._array.shape)
    if overlaps(x._array) and np.size(value) != 1:
        if keys:
            _refuse_places(x._array, keys)
        before_writing(x, "setitem", places)
    else:
        before_writing(x, "setitem", None)
    if keys:
        put(x._array, keys, value)
    else:  # The places are found again, because `before_writing` may have given the tensor other memory.
        write(_core._places(x._array, key), value, "setitem")
    bump(x)


def _refuse_places(array: Array, keys: tuple[Any, ...]) -> None:
    """Refuses keys with arrays that pick several elements of one place of an array that overlaps."""
    numbers = picked(place_numbers(array), keys)
    if len(np.unique(numbers)) < numbers.size:
        refuse_overlap("setitem", numbers.shape)


def fill_(x: Tensor, value: float | Tensor) -> Tensor:
    """Every element becomes the number."""
    # A number in the range of float16, at most 65504, is in the range of every dtype of floats.
    if type(value) in (float, int) and not -65504 <= value <= 65504:
        value = fill_number("fill_", value, x._array.dtype)
    return _fill(x, value)


def zero_(x: Tensor) -> Tensor:
    """Every element becomes 0."""
    return _zero(x, 0)


def copy_(x: Tensor, src: TensorLike, non_blocking: bool = False) -> Tensor:
    """Takes the values of another tensor or array, cast and broadcast; non_blocking has no effect."""
    return _copy(x, src)


def _replacing(name: str) -> Callable[[Tensor, Any], Tensor]:
    """The op that replaces all elements of x by those of src, under this name."""

    @into(_core.write, name=name)
    def replace_all(x: Tensor, src: TensorLike) -> Tensor:
        check_leaf(x, name)
        if _of_slices is not None and _of_slices.concern(x, src):
            return _of_slices.replace_all(x, src, name, replace_all)
        recorded = (x._requires_grad or _passes_gradients(src, x)) and mode.enabled
        if recorded or is_written():
            return assign(x, Put().apply(x, src), name)
        store(x, getattr(src, "_array", src), name)
        return x

    return replace_all


_fill = _replacing("fill_")
_zero = _replacing("zero_")
_copy = _replacing("copy_")


_SAME_NUMBER = frozenset({"fill_", "zero_"})  # ops that give all elements one value
# How many nodes `_keep_saved` looks at. An operation in place consists of fewer Functions; those before them
# belong to older operations.
_MOST = 16


def take_over(tensor: Tensor, result: Tensor, name: str) -> None:
    """Gives the tensor the value and the history of a result of the same shape and dtype."""
    require_writeable(name, tensor._array)
    view = tensor._view
    cell = tensor._cell
    if view is not None and stands_alone(tensor):
        view = None
    if view is None and not cell.unwatched and not (cell.links and sharing(tensor)):
        _exchange(tensor, result)
        return
    if view is not None:
        base, _, refusal = view
        if refusal:
            raise RuntimeError(f"[{name}] got {refusal}")
        if base._cell is not cell:
            raise RuntimeError(
                f"[{name}] got a view of a tensor that has other memory since (`.data = ...`); expected a "
                "view of its present memory: make the view again, or clone() it"
            )
        if base._grad_fn is None and base._requires_grad:
            refuse_leaf(name, "a view of a leaf Variable")
    if name in _SAME_NUMBER:
        before_writing(tensor, name, None)
    else:
        before_writing(tensor, name, tensor._array)
    _keep_saved(result._grad_fn, tensor)
    _keep_results(tensor)
    if view is not None:
        _skip_hooks(tensor, result._grad_fn, view)
    write(tensor._array, result._array)
    count_change(tensor)  # not `bump`, since the views get their histories below
    base = tensor
    maker = result._grad_fn
    if view is not None:
        base, chain, _ = view
        maker = as_node(Replace(chain, base._array), base._grad_fn, maker)
    change_history(base, maker)
    for other in views_of(base):
        _, chain, refusal = other._view
        if refusal:
            maker = as_node(Refused(refusal), base._grad_fn)
        else:
            maker = chained(chain, base._grad_fn)
        change_history(other, maker)
    renew(tensor, without=base)


def _exchange(tensor: Tensor, result: Tensor) -> None:
    """Gives the tensor the memory and the history of the result."""
    if result._view is not None:  # its memory is that of its base
        result = result.clone()
    maker = result._grad_fn  # not None: callers come here on the tape only
    cell = result._cell
    if maker.versions and maker.versions[0] is cell:  # the count of changes goes on in the new cell
        changes = tensor._cell.changes + 1
        cell.changes = changes
        maker.changes = (changes, *maker.changes[1:])
    tensor._array = result._array
    tensor._cell = cell
    if tensor._grad_fn is not None and tensor._grad_fn.hooks:
        change_history(tensor, maker)
    else:
        tensor._grad_fn = maker
        tensor._requires_grad = True


def _keep_saved(last: Target | None, tensor: Tensor, includes_maker: bool = False) -> None:
    """Copies the arrays in memory that will now be written which the Functions of an operation have saved.

    last: the last Function of the operation.
    includes_maker: whether the Function that made the tensor is included.
    """
    nodes: list[Any] = [last]
    for node, _ in zip(nodes, range(_MOST), strict=False):  # the list grows while the loop runs
        if not hasattr(node, "versions"):  # a leaf, an Output or None
            continue
        if node is tensor._grad_fn and not includes_maker:
            continue
        if any(cell is tensor._cell for cell in node.versions):
            _keep_arrays(node, tensor)
        nodes += node.edges


def _keep_arrays(node: Function, tensor: Tensor) -> None:
    """Copies the arrays on the tensor's memory that one Function has saved."""
    if node.changes != tuple([cell.changes for cell in node.versions]):
        return  # Memory was changed after this Function was recorded: it belongs to an older operation.
    saved = vars(node)
    array = tensor._array
    for name, value in saved.items():
        if isinstance(value, np.ndarray):
            saved[name] = _separate(value, array)
        elif type(value) in (tuple, list):
            saved[name] = type(value)(_separate(item, array) for item in value)
    changing = tensor._cell  # its count will be one higher after the change
    node.changes = tuple([cell.changes + (cell is changing) for cell in node.versions])


def _keep_results(tensor: Tensor) -> None:
    """Copies the results, in memory that will now be written, that Functions with ``frees_result`` have
    saved.

    PyTorch's ops save only their inputs there, so that the program may change the result before backward.
    """
    base = None if tensor._view is None else base_of(tensor)
    owners = [tensor, base]
    if tensor._cell.links:
        owners += sharing(tensor)
    for owner in owners:
        node = getattr(owner, "_grad_fn", None)
        if isinstance(node, Output):
            node = node.function
        if getattr(node, "frees_result", False):
            _keep_saved(node, tensor, includes_maker=True)


def _separate(value: object, array: Array) -> object:
    """A copy of a saved value if it is an array that shares memory with `array`; else the value."""
    if isinstance(value, np.ndarray) and np.may_share_memory(value, array):
        return copied(value)
    return value


def _skip_hooks(tensor: Tensor, maker: Function, view: tuple[Any, ...]) -> None:
    """Lets the gradients of a change in place bypass the hooks of the view and of the views it is made from.

    As in PyTorch, these hooks get only the gradients of uses before the change. maker: the Function of the
    change, whose first edge leads to the old history of the view. If a node of that history has hooks, or the
    view is made by `as_strided` (`by_memory`), the edge is replaced by new nodes that lead straight to the
    base.
    """
    base, chain, _ = view
    node = old = tensor._grad_fn
    if old is None or maker.edges[0] is not old:
        return
    for _ in chain:
        if node.hooks or hasattr(chain[-1], "by_memory"):
            maker.edges = (chained(chain, base._grad_fn), *maker.edges[1:])
            return
        node = node.edges[0]
        if node is None or not node.edges:
            return
