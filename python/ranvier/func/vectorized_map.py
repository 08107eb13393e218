"""vmap: applies a function of one sample to many samples, each op for all of them (batching.py).

`slice_arguments` and `join_results` also serve the `Stack` of module_stack.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn, TypeAlias

import ranvier.func.batching_rules.kernels  # noqa: F401  # fills the table of rules
from ranvier.autograd.trees import list_values, replace_values
from ranvier.func.batching import in_level
from ranvier.func.draws_of_slices import NoDraws, random_numbers
from ranvier.ops import stack, unbind
from ranvier.ops.making import random
from ranvier.ops.making.creation import eye
from ranvier.tensors.batched import Level, batched, value_at
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor

_RANDOMNESS = ("error", "different", "same")

InDims: TypeAlias = "int | Sequence[InDims] | dict[Any, InDims] | None"
"""The dimensions along which arguments are sliced: one for all, or nested as the arguments are."""

OutDims: TypeAlias = int | Sequence[int]


def vmap(
    func: Callable[..., Any],
    in_dims: InDims = 0,
    out_dims: OutDims = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that applies func to slices of its arguments, and stacks the results.

    result[i] = func(argument[i], ...), where [i] is along the dimensions in_dims: an int for all arguments,
    or a tuple with one item for each. The item of a nested argument is an int for all its Tensors, or nested
    like the argument. None: the argument is given whole to each call; so are arguments passed by name.
    out_dims: the dimension along which the results are stacked. randomness: "error": func must not draw
    random numbers; "different": each call draws other numbers; "same": each call draws the same. chunk_size,
    with which PyTorch limits its memory, changes nothing.

    func runs once, on Tensors that stand for all slices, and each op is computed for all of them. So no value
    that differs from slice to slice can be read in Python (``if x > 0``, ``x.item()``). Changes in place
    (``x[0] = y``, ``x.add_(y)``) work on slices, views of them and Tensors that func makes. The places in
    memory of each slice (`as_strided`, `storage_offset()`) are numbered as those of the first one. An op
    without a batching rule runs once for each slice, with a warning.

    Raises ValueError for sizes that differ and for no or unknown dimensions, TypeError for arguments and
    results that are no Tensors, RuntimeError for draws with randomness="error", and from a generator that
    func has itself unless they are "different"; for values read in Python, masks as indices (``x[mask]``, not
    ``x[mask] = number``), and values of slices written to a Tensor from outside.

    >>> import ranvier as rv
    >>> rv.func.vmap(rv.dot)(rv.ones(3, 2), rv.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    tensor([ 3.,  7., 11.])
    >>> loss = lambda w, x, y: ((x @ w - y) ** 2).mean()
    >>> of_samples = rv.func.vmap(rv.func.grad(loss), in_dims=(None, 0, 0))
    >>> of_samples(rv.ones(2), rv.tensor([[1.0, 2.0], [3.0, 4.0]]), rv.tensor([1.0, 2.0]))
    tensor([[ 4.,  8.],
            [30., 40.]])
    """
    if randomness not in _RANDOMNESS:
        raise OpError(f"[vmap] got randomness {randomness!r}; expected one of {', '.join(_RANDOMNESS)}")
    if chunk_size is not None and not (isinstance(chunk_size, int) and chunk_size > 0):
        raise OpError(f"[vmap] got chunk_size {chunk_size!r}; expected a positive int or None")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        mapped = check_arguments("vmap", in_dims, args)
        if mapped.slice_count is None:
            raise OpError("[vmap] got in_dims without a dimension; expected one for an argument at least")
        if mapped.slice_count == 0:
            return _map_no_slices(func, in_dims, out_dims, args, kwargs, randomness)
        return _map_slices(func, mapped, out_dims, args, kwargs, randomness)

    return wrapper


def _map_slices(
    func: Callable[..., Any],
    mapped: MappedArguments,
    out_dims: OutDims,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    randomness: str,
) -> Any:
    """The result of :func:`vmap` for one slice or more: func runs once, on batched Tensors."""
    values_of_slices = []
    for value, dim in zip(list_values(args), mapped.dims, strict=True):
        if dim is not None and dim != 0:
            value = value.movedim(dim, 0)
        values_of_slices.append(value)
    with in_level(mapped.slice_count or 0) as level:
        values = []
        for value, dim in zip(values_of_slices, mapped.dims, strict=True):
            values.append(value if dim is None else batched(value, level))
        with random_numbers(randomness, level):
            result = func(*replace_values(args, values), **kwargs)
        results = _check_results("vmap", result)
        dims = _check_out_dims(out_dims, len(results))
        joined = []
        for value, dim in zip(results, dims, strict=True):
            joined.append(_without_level(value, level, dim))
        return replace_values(result, joined)


def _without_level(value: Tensor, level: Level, dim: int) -> Tensor:
    """The Tensor with all slices of a result, along this dimension."""
    stacked = value_at(value, level)
    if dim == 0:
        return stacked
    return stacked.movedim(0, dim)


def _map_no_slices(
    func: Callable[..., Any],
    in_dims: InDims,
    out_dims: OutDims,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    randomness: str,
) -> Any:
    """The result of :func:`vmap` for dimensions of 0: that of one slice of zeros, or of identity matrices,
    without this slice."""
    values = []
    for value, dim in zip(list_values(args), _spread_dims("vmap", in_dims, args), strict=True):
        if dim is not None:
            # Zeros of the size of a slice. As the sum over no elements, they lead to the tensor's gradient.
            value = value.sum(dim).to(value.dtype)
            if value.dtype.kind in "fc" and value.ndim >= 2 and value.shape[-1] == value.shape[-2]:
                value = value + eye(value.shape[-1], dtype=value.dtype)  # a matrix that has an inverse
        values.append(value)
    if randomness == "error":
        generator: random.Generator = NoDraws()
    else:
        generator = random.Generator()  # which nobody else draws from
    with random.using(generator):
        result = func(*replace_values(args, values), **kwargs)
    results = _check_results("vmap", result)
    dims = _check_out_dims(out_dims, len(results))
    empty = []
    for value, dim in zip(results, dims, strict=True):
        stacked = stack([value], dim)
        empty.append(stacked.narrow(dim, 0, 0))
    return replace_values(result, empty)


class MappedArguments(NamedTuple):
    """What is known of the arguments of a call."""

    slice_count: int | None  # None: no argument is sliced
    dims: list[int | None]  # for each value in the arguments, in order, the dimension of its slices


def check_arguments(name: str, in_dims: InDims, args: tuple[Any, ...]) -> MappedArguments:
    """The dimensions of the slices of the arguments, and how many slices there are. name: the public
    function, for errors."""
    if not (in_dims is None or isinstance(in_dims, (int, tuple, list))) or isinstance(in_dims, bool):
        raise TypeError(f"[{name}] got in_dims of type {type(in_dims).__name__}; expected an int or a tuple")
    if isinstance(in_dims, (tuple, list)) and len(in_dims) != len(args):
        raise OpError(f"[{name}] got {len(in_dims)} in_dims for {len(args)} arguments; expected one for each")
    dims = list(_spread_dims(name, in_dims, args))
    count = None
    for value, dim in zip(list_values(args), dims, strict=True):
        if dim is None:
            continue
        length = _count_slices(name, value, dim)
        if count is not None and length != count:
            raise OpError(f"[{name}] got {count} and {length} slices; expected arguments with as many")
        count = length
    return MappedArguments(count, dims)


def _spread_dims(name: str, dims: InDims, tree: Any) -> Iterator[int | None]:
    """The dimension, or None, for each value in the nested arguments `tree`, in order."""
    if isinstance(tree, dict):
        if not isinstance(dims, (tuple, list, dict)):
            of_items = dict.fromkeys(tree, dims)
        elif isinstance(dims, dict) and dims.keys() == tree.keys():
            of_items = dims
        else:
            _refuse_nesting(name, dims)
        for key, item in tree.items():
            yield from _spread_dims(name, of_items[key], item)
    elif isinstance(tree, (tuple, list)):
        if not isinstance(dims, (tuple, list, dict)):
            dims = [dims] * len(tree)
        elif isinstance(dims, dict) or len(dims) != len(tree):
            _refuse_nesting(name, dims)
        for dims_of_item, item in zip(dims, tree, strict=True):
            yield from _spread_dims(name, dims_of_item, item)
    elif dims is None or (isinstance(dims, int) and not isinstance(dims, bool)):
        yield dims
    else:
        raise OpError(f"[{name}] got in_dims {dims!r} for one argument; expected an int or None")


def _refuse_nesting(name: str, dims: InDims) -> NoReturn:
    raise OpError(f"[{name}] got in_dims {dims!r}; expected them nested as the arguments are")


def _count_slices(name: str, value: Any, dim: int) -> int:
    """The number of slices of an argument, which must be a Tensor, along a dimension."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"[{name}] got an argument of type {type(value).__name__} and dimension {dim}; expected a "
            "Tensor, or None in in_dims"
        )
    if not -value.ndim <= dim < value.ndim:
        raise OpError(
            f"[{name}] got dimension {dim} for an argument of shape {tuple(value.shape)}; expected its own"
        )
    return int(value.shape[dim])


def slice_arguments(name: str, in_dims: InDims, args: tuple[Any, ...]) -> list[tuple[Any, ...]] | None:
    """The arguments of each slice, as views; None if no argument is sliced. name: the public function, for
    errors."""
    mapped = check_arguments(name, in_dims, args)
    if mapped.slice_count is None:
        return None
    values = list_values(args)
    slices: list[Sequence[Any]] = []
    for value, dim in zip(values, mapped.dims, strict=True):
        if dim is None:
            slices.append([value] * mapped.slice_count)
        else:
            slices.append(unbind(value, dim))
    return [replace_values(args, of_slice) for of_slice in zip(*slices, strict=True)]


def join_results(name: str, results: Sequence[Any]) -> Any:
    """One result of the same structure as each of the results, with their Tensors stacked. name: the public
    function, for errors."""
    rows = [_check_results(name, result) for result in results]
    first = rows[0]
    if any(len(row) != len(first) for row in rows):
        raise OpError(f"[{name}] got results of different structure; expected the same of each slice")
    columns = zip(*rows, strict=True)
    return replace_values(results[0], [stack(list(column)) for column in columns])


def _check_results(name: str, result: Any) -> list[Tensor]:
    """The Tensors in a result. Raises TypeError if it has other values."""
    values = list_values(result)
    for value in values:
        if not isinstance(value, Tensor):
            raise TypeError(f"[{name}] got a result with {type(value).__name__}; expected Tensors")
    return list(values)


def _check_out_dims(out_dims: OutDims, count: int) -> Sequence[int]:
    """out_dims, an int for each of `count` results."""
    dims = _dims_of_results(out_dims, count)
    if len(dims) != count or not all(type(dim) is int for dim in dims):
        raise OpError(f"[vmap] got out_dims {out_dims!r} for {count} results; expected an int for each")
    return dims


def _dims_of_results(out_dims: OutDims, count: int) -> Sequence[int]:
    """out_dims for each of `count` results."""
    if isinstance(out_dims, (tuple, list)):
        return out_dims
    return [out_dims] * count  # type: ignore[list-item]
