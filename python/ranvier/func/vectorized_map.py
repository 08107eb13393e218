"""vmap: applies a function of one sample to many samples, in a loop over views of the arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from ranvier.autograd.level import like, values_of
from ranvier.ops import stack, unbind
from ranvier.ops.making import random
from ranvier.tensors.deepcopy_pickle import begin_alike
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor

_RANDOMNESS = ("error", "different", "same")


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
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

    func runs once for each slice, on views: eagerly that takes as long as a loop. In a step compiled by
    :func:`ranvier.compile` calls that do not depend on each other run side by side. The places in memory of
    each slice (`as_strided`, `storage_offset()`) are numbered as those of the first one.

    Of no slices (a dimension of 0) func runs once, on zeros, which gives the sizes of the empty result.

    Raises ValueError for sizes that differ and for no or unknown dimensions, TypeError for arguments and
    results that are no Tensors, RuntimeError for draws with randomness="error", and from a generator that
    func has itself unless they are "different".

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
        parts, count = slices("vmap", in_dims, args)
        if count is None:
            raise OpError("[vmap] got in_dims without a dimension; expected one for an argument at least")
        if count == 0:
            return _of_no_slices(func, in_dims, out_dims, args, kwargs, randomness)
        results = []
        with _drawing(randomness) as each:
            for i in range(count):
                with each():
                    results.append(func(*parts(i), **kwargs))
        return joined("vmap", results, out_dims)

    return wrapper


def _of_no_slices(
    func: Callable[..., Any], in_dims: Any, out_dims: Any, args: Any, kwargs: Any, randomness: str
) -> Any:
    """The result of :func:`vmap` for dimensions of 0: that of one slice of zeros, without this slice."""
    pairs = zip(values_of(args), _spread("vmap", in_dims, args), strict=True)
    zeros = [value if dim is None else _zeros_of_a_slice(value, dim) for value, dim in pairs]
    stream = _Refused() if randomness == "error" else random.Generator()  # which nobody else draws from
    with random.using(stream):
        result = func(*like(args, zeros), **kwargs)
    whole = joined("vmap", [result], out_dims)
    values = values_of(whole)
    if isinstance(out_dims, (tuple, list)):
        dims = out_dims
    else:
        dims = [out_dims] * len(values)
    return like(whole, [value.narrow(dim, 0, 0) for value, dim in zip(values, dims, strict=True)])


def _zeros_of_a_slice(value: Tensor, dim: int) -> Tensor:
    """Zeros of the size of a slice. As the sum over no elements, they lead to the tensor's gradient."""
    return value.sum(dim).to(value.dtype)


Parts = Callable[[int], tuple[Any, ...]]


def slices(name: str, in_dims: Any, args: tuple[Any, ...]) -> tuple[Parts, int | None]:
    """A function that gives the i-th slices of the arguments, and the number of slices; None: no argument is
    sliced. name: the public function, for errors."""
    if not (in_dims is None or isinstance(in_dims, (int, tuple, list))) or isinstance(in_dims, bool):
        raise TypeError(f"[{name}] got in_dims of type {type(in_dims).__name__}; expected an int or a tuple")
    if isinstance(in_dims, (tuple, list)) and len(in_dims) != len(args):
        raise OpError(f"[{name}] got {len(in_dims)} in_dims for {len(args)} arguments; expected one for each")
    values = values_of(args)
    dims = list(_spread(name, in_dims, args))
    divided = []
    count = None
    for value, dim in zip(values, dims, strict=True):
        divided.append(value if dim is None else _divided(name, value, dim))
        if dim is not None:
            count = _common(name, count, len(divided[-1]))

    def part(i: int) -> tuple[Any, ...]:
        chosen = [value if dim is None else value[i] for value, dim in zip(divided, dims, strict=True)]
        return like(args, chosen)

    return part, count


def _spread(name: str, dims: Any, tree: Any) -> Iterator[int | None]:
    """The dimension, or None, for each value in the nested arguments `tree`, in order."""
    nested = isinstance(dims, (tuple, list, dict))
    if isinstance(tree, dict) or (isinstance(tree, (tuple, list)) and not isinstance(tree, Tensor)):
        keys = list(tree) if isinstance(tree, dict) else range(len(tree))
        same = nested and isinstance(dims, dict) == isinstance(tree, dict) and len(dims) == len(tree)
        if nested and not (same and all(key in dims for key in keys if isinstance(dims, dict))):
            raise OpError(f"[{name}] got in_dims {dims!r}; expected them nested as the arguments are")
        for key in keys:
            yield from _spread(name, dims[key] if nested else dims, tree[key])
    elif dims is None or (isinstance(dims, int) and not isinstance(dims, bool)):
        yield dims
    else:
        raise OpError(f"[{name}] got in_dims {dims!r} for one argument; expected an int or None")


def _divided(name: str, value: Any, dim: int) -> tuple[Tensor, ...]:
    """The slices of a Tensor along a dimension."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"[{name}] got an argument of type {type(value).__name__} and dimension {dim}; expected a "
            "Tensor, or None in in_dims"
        )
    if not -value.ndim <= dim < value.ndim:
        raise OpError(
            f"[{name}] got dimension {dim} for an argument of shape {tuple(value.shape)}; expected its own"
        )
    parts: tuple[Tensor, ...] = unbind(value, dim)
    # Only for vmap: no function of the user's gets the slices of a Stack.
    if name == "vmap" and value._array.size:
        begin_alike(parts)
    return parts


def _common(name: str, count: int | None, size: int) -> int:
    if count is not None and size != count:
        raise OpError(f"[{name}] got {count} and {size} slices; expected arguments with as many")
    return size


def joined(name: str, results: list[Any], out_dims: Any) -> Any:
    """One result of the same structure as each of the results, with their Tensors stacked."""
    columns = [values_of(result) for result in results]
    for value in (value for column in columns for value in column):
        if not isinstance(value, Tensor):
            raise TypeError(f"[{name}] got a result with {type(value).__name__}; expected Tensors")
    if any(len(column) != len(columns[0]) for column in columns):
        raise OpError(f"[{name}] got results of different structure; expected the same of each slice")
    first = columns[0]
    if isinstance(out_dims, (tuple, list)):
        dims = list(out_dims)
    else:
        dims = [out_dims] * len(first)
    if len(dims) != len(first) or not all(type(dim) is int for dim in dims):
        raise OpError(
            f"[{name}] got out_dims {out_dims!r} for {len(first)} results; expected an int for each"
        )
    rows = zip(zip(*columns, strict=True), dims, strict=True)
    return like(results[0], [stack(list(row), dim) for row, dim in rows])


class _Same(random.Generator):
    """The stream of a function that draws the same in each call."""

    only = "[vmap] got a function that draws from its own generator; expected randomness='different'"


class _Refused(_Same):
    """The stream of a function that must not draw."""

    def fresh_key(self) -> Any:
        raise RuntimeError(
            "[vmap] got a function that draws random numbers; expected randomness='different' or 'same'"
        )

    next_key = numpy = state_to_draw = fresh_key


@contextmanager
def _drawing(randomness: str) -> Iterator[Callable[[], Any]]:
    """Gives a function that makes the block in which one call of func runs, with its stream of random
    numbers."""
    stream = random.current()
    if randomness == "different":
        yield nullcontext
    elif randomness == "error":
        refused = _Refused()
        yield lambda: random.using(refused)
    else:
        state, same = stream.plain_state(), _Same()
        yield lambda: random.using(same.set_state(state))
        stream.set_state(same.plain_state())
