"""Function: one differentiable operation, with its forward and its backward.

The tape consists of Function instances. An instance is its own context: the constructor takes the attributes
(stride, axis ...), ``forward`` saves what ``backward`` needs on ``self``, and ``apply`` links the instance to
the Functions that made its inputs.

A Function's ``edges`` are the targets of its gradients, one for each input: the Function that made the input,
the input itself if it is a leaf that requires gradients, or None. The inputs themselves are not kept, so that
an activation which no backward needs is freed as soon as the program drops it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias, TypeVar

import numpy as np

import ranvier._core as _core
from ranvier.tensors.batched import level_of
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.failures import DtypeError, failure, op_of
from ranvier.tensors.memory import BF16, F32, HALVES, keep, number_in, plain
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.views import bump

if TYPE_CHECKING:
    from typing import TypeGuard

    from ranvier.tensors.memory import Array
    from ranvier.tensors.types import Key, Number, TensorLike

    # Where a gradient goes: to the node that made a tensor (one of its outputs), or to a leaf.
    Target: TypeAlias = "Function | Output | Tensor"

ndarray = np.ndarray
_MEDIUM = 2  # the precision "medium" of matrix products: its place in config.PRECISIONS
F = TypeVar("F", bound=Callable[..., Any])


class Dtypes(NamedTuple):
    """The dtypes in which an op computes half floats and integers, and all inputs in a block of autocast.

    halves: "float32": the op computes half floats in float32, and rounds results and gradients once. "own":
        the op computes with half floats as they are. "forward": forward does that, but a call with a gradient
        is computed in float32.
    autocast: None: in a block the op computes in the dtypes that it gets. "lower": floats are cast to the
        dtype of the block. "float32": half floats are cast to float32. "products": for recurrent steps, whose
        matrix products alone are computed in the dtype of the block.
    beside: the inputs from this index on may be float32 while the others are half floats; results get the
        dtype of the half floats. 0: no input may.
    integers: "kept", or "floats": they become floats of the default dtype first.
    like_first: whether results have the dtype of the first operand although another operand is wider.
    """

    halves: str = "float32"
    autocast: str | None = None
    beside: int = 0
    integers: str = "kept"
    like_first: bool = False


OWN = Dtypes(halves="own")


class Function(_core._FunctionBase):
    """One operation on arrays with its gradient; subclass it to define your own.

    ``forward(*arrays)`` gets NumPy arrays and returns an array or a tuple of arrays.
    ``backward(dy, ...)`` gets one gradient for each output (None for an unused one of several) and returns
    one gradient, or None, for each input of forward.
    ``self.needs`` says, in both, which inputs need a gradient: in backward those that lead to one which
    this pass is asked for (``autograd.grad(y, x)``, ``backward(inputs=)``).

    >>> import numpy as np, ranvier as rv
    >>> class Square(rv.autograd.Function):
    ...     def forward(self, x):
    ...         self.x = x
    ...         return x * x
    ...     def backward(self, dy):
    ...         return 2 * dy * self.x
    >>> x = rv.tensor([1.0, 3.0], requires_grad=True)
    >>> Square().apply(x).backward(np.ones(2, np.float32))
    >>> x.grad
    tensor([2., 6.])
    """

    # The slots are the links of the tape (explained below). What forward saves is in the instance's __dict__.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_needs",
        "changes",
        "edges",
        "hooks",
        "outputs",
        "released",
        "versions",
    )

    # True if y is a function of one input, element by element. Forward mode (func/forward.py) asks for it.
    of_element: bool = False
    # True if y is a function of several inputs, element by element, which are broadcast.
    broadcasts: bool = False
    is_view: bool = False  # True if the output shares memory with the first input
    differentiable: bool = True  # False: never recorded (comparisons, argmax ...)
    # The dtypes in which the op computes. A view always takes half floats as they are.
    dtypes: Dtypes = Dtypes()
    # True if NumPy computes forward or backward, from arrays and constants alone (tape/host_nodes.py).
    by_numpy: bool = False
    # True if backward reads arrays that forward has computed from its inputs. Backward cannot compute them
    # again for new memory, so it raises an error after `x.data = ...` (tensors/replaced.py).
    derived: bool = False
    # True if PyTorch's op does not save its result, so that a program may change the result in place before
    # backward. If forward here has saved the result, it is copied before such a change (tape/inplace.py).
    frees_result: bool = False
    # True if backward reads the input. If an op in place writes its result over the input, a copy is saved.
    reads_old: bool = False
    takes_deferred: bool = False  # True if backward accepts a Deferred (tape/deferred.py) instead of an array
    # The saved arrays that only one gradient needs: name of the attribute -> index of that gradient's input.
    reads: ClassVar[dict[str, int]] = {}
    # What `differentiable_backward` (ops/namespaces.py) got: name of a saved array -> index of its input, -1
    # for the result. Only its Functions have it.
    saves: ClassVar[dict[str, int]]

    needs: tuple[bool, ...]  # for each input whether it needs a gradient; set before forward
    edges: tuple[Any, ...]  # for each input the target of its gradient (see above)
    versions: tuple[_core._Cell, ...]  # the `_cell` of output and inputs, which counts changes in place
    changes: tuple[int, ...]  # these counts at the time of forward
    hooks: dict[int, Any] | None  # functions that get the gradient of the output first: see hooks.py
    released: bool  # True if backward has freed what forward saved; set when the call is recorded
    outputs: int  # the number of outputs

    def forward(self, *arrays: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, *gradients: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}.backward")

    def through_view(self, place: int) -> bool:
        """True if PyTorch saves a view of the input at this place (1, 2 ...): then `x.data = ...`, which
        gives x other memory, does not change what backward reads. `tensors/replaced.py` asks for it."""
        return False

    def _op_name(self) -> str:
        """The name of the op in errors: `avg_pool2d` of the class AvgPool2d."""
        return re.sub("(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(self).__name__).lower()

    def check_saved(self, *more: Array) -> None:
        """Raises RuntimeError if an array that backward needs was changed in place since forward.

        more: arrays that it needs beside those among its attributes.
        """
        for cell, count in zip(self.versions, self.changes, strict=True):
            changed = cell.changed_last
            if cell.changes == count or changed is None:
                continue
            if any(np.may_share_memory(array, changed) for array in (*self._arrays_needed(), *more)):
                raise RuntimeError(
                    f"[{self._op_name()}] a variable needed for gradient computation has "
                    f"been modified by an inplace operation: an array of shape {changed.shape} is at version "
                    f"{cell.changes}; clone() it before changing it"
                )

    def _arrays_needed(self) -> Iterator[Array]:
        """The arrays that forward has saved, without those that only gradients which are not needed read."""
        for name, value in vars(self).items():
            if name not in self.reads or self.needs[self.reads[name]]:
                yield from _arrays_in((value,))

    def release(self) -> None:
        """Drops what forward saved, unless it saved only plain values (shapes, axes)."""
        _core._release(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class TakesHalves(Function):
    """A Function that takes half floats as they are."""

    __slots__ = ()
    dtypes = OWN


class Output:
    """One of several outputs of a Function: a node of the tape that passes its gradient to the Function.

    index: which of the outputs it is.
    hooks: as of Functions.
    """

    __slots__ = ("__weakref__", "edges", "function", "hooks", "index")

    def __init__(self, function: Function, index: int) -> None:
        self.function = function
        self.edges = (function,)
        self.index = index
        self.hooks: dict[int, Any] | None = None

    def __repr__(self) -> str:
        return f"<{type(self.function).__name__}[{self.index}]>"


def by_kernel(
    kernel: Callable[..., Any],
    node: Callable[..., Function] | None = None,
    *,
    make_node: Callable[[], Any] | None = None,
    inputs: int = 1,
    dtypes: Dtypes | None = None,
    floats: bool = False,
    result: type | None = None,
    takes: int = -1,
    name: str | None = None,
) -> Callable[[F], F]:
    """A decorator of the Python function of an op: the core then answers simple calls of the op by itself.

    For a simple call the core passes the arrays of Tensors and the other arguments to ``kernel``. The
    decorated function gets all other calls: those that the kernel refuses, by NotImplemented or an error,
    that observers follow, that have keywords, or that need a gradient. With ``node`` the core makes calls
    with a gradient, too.

    node: ``node(*settings).apply(*inputs)`` is the call on the tape.
    inputs: how many of the arguments are inputs; they come first, and the settings after them.
    make_node: returns `node` at its first use.
    floats: True: a call whose first Tensor has no floats goes to the function; else the kernel decides.
    dtypes: the dtypes of the op; implies `floats`. If autocast lists the op, its calls in a block of autocast
        go to the function.
    result: the class of the named tuple for several results.
    takes: how many arguments the kernel gets.
    name: the op's name, which errors of the function get.

    >>> import ranvier as rv
    >>> @by_kernel(_core.exp)
    ... def exp(x): return rv.exp(x)
    >>> exp(rv.tensor([0.0])), exp(0)
    (tensor([1.]), tensor(1.))
    """
    needs_floats = floats or dtypes is not None
    autocast_lists_it = dtypes is not None and dtypes.autocast is not None

    def decorate(op: F) -> F:
        decorated: F = _core._by_kernel(
            op, kernel, node, make_node, inputs, needs_floats, result, takes, autocast_lists_it, name
        )
        return decorated

    return decorate


def into(kernel: Callable[..., Any], takes: int = -1, name: str | None = None) -> Callable[[F], F]:
    """As :func:`by_kernel`, for an op that changes its first argument in place and returns it. The core calls
    ``kernel(*other_arguments, array)``, where the array is that of the first argument."""

    def decorate(op: F) -> F:
        # The core chooses a kernel by the dtype of the first argument. Here all dtypes have the same one.
        decorated: F = _core._into(
            op, of_floats=kernel, of_integers=kernel, of_others=kernel, takes=takes, name=name
        )
        return decorated

    return decorate


def _arrays_in(values: Iterable[Any]) -> Iterator[Array]:
    """The arrays among values, and in lists and tuples among them."""
    for value in values:
        if isinstance(value, ndarray):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _arrays_in(value)


def watched(result: Tensor, *keys: Key | TensorLike) -> Any:
    """The result of a Function, whose backward now raises an error if one of the Tensors in keys has changed.

    keys: Tensors, or tuples with some, such as indices, that the Function has saved and that are no inputs.
    """
    node = result._grad_fn
    if not isinstance(node, Function):
        return result
    nodes = [node]
    if result._array.dtype in HALVES and isinstance(node.edges[0], Function):
        nodes.append(node.edges[0])  # The result may be a cast of the Function's, see `_widened`.
    for key in keys:
        indices = key if type(key) is tuple else (key,)
        for index in indices:
            if isinstance(index, Tensor):
                _watch(nodes, index._cell)
    return result


def _watch(nodes: list[Function], cell: _core._Cell) -> None:
    """Makes the backward of nodes raise an error if the count of changes in `cell` has changed by then."""
    for node in nodes:
        node.versions = (*node.versions, cell)
        node.changes = (*node.changes, cell.changes)


class _Absent:
    """An input that is None (a layer without bias). It has the attributes of a Tensor that the core reads."""

    _array = None
    _requires_grad = False
    _grad_fn = None
    _view = None
    _cell = _core._Cell()


_ABSENT = _Absent()


def _widened(function: Function, *inputs: Tensor | _Absent) -> Any:
    """Runs a Function on half floats in float32. Its results and its gradients are rounded to half floats.

    The core calls it for Functions with ``dtypes.halves == "float32"``, if an input has half floats.
    """
    floats = [x._array.dtype for x in inputs if _is_floating(x)]
    dtype = floats[0]
    is_one_dtype = {*floats} == {dtype} or _fits(floats, function.dtypes.beside)
    if is_one_dtype:
        inputs = tuple(map(_without_halves, inputs))
    else:  # the inputs have several dtypes: the kernel gets them as they are, and most kernels refuse them
        function.dtypes = function.dtypes._replace(halves="own")  # else `apply` below would call this again
    # Factors that were bfloat16 may be rounded to bfloat16 in products without any loss.
    is_medium = function.dtypes.autocast == "lower" and dtype == BF16
    try:
        y = applied(function, inputs, is_medium)
        if is_one_dtype:
            return rounded(y, dtype)
        return y
    except DtypeError as error:  # The new error names the dtype of the caller instead of float32.
        op = op_of(error)
        if is_one_dtype:
            got = error.got.replace("float32", str(dtype))
            raise failure(DtypeError, op, got, error.expected) from None
        names = ", ".join(sorted(map(str, {*floats})))
        raise failure(DtypeError, op, f"{error.got} among {names}", "one dtype: use x.to(dtype)") from None


def _without_halves(x: Tensor | _Absent) -> Tensor | _Absent:
    """A Tensor of half floats in float32; others as they are."""
    if isinstance(x, Tensor) and x._array.dtype in HALVES:
        return x.to(F32)
    return x


def applied(function: Function, inputs: Iterable[TensorLike | _Absent | None], is_medium: bool) -> Any:
    """The result of function.apply(*inputs). is_medium: matrix products in it round their factors to
    bfloat16, whatever precision the caller has set."""
    if not is_medium:
        return function.apply(*inputs)
    before = _core.set_own_precision(_MEDIUM)
    try:
        return function.apply(*inputs)
    finally:
        _core.set_own_precision(before)


def _fits(floats: list[np.dtype[Any]], beside: int) -> bool:
    """True if the inputs before the index `beside` have one dtype, and the inputs from it on have one, too.

    The first dtype must be a half float, except for two inputs, since PyTorch's RMS norm takes a float32
    input with a weight of half floats.
    """
    same = beside > 0 and len({*floats[:beside]}) == len({*floats[beside:]}) == 1
    return same and (floats[0] in HALVES or len(floats) == 2)


def rounded(y: Tensor | tuple[Tensor, ...], dtype: np.dtype[Any]) -> Any:
    """Results of float32 in the dtype of half floats `dtype`; other results as they are."""
    if isinstance(y, tuple):
        return tuple(rounded(result, dtype) for result in y)
    if y._array.dtype == F32:
        return y.to(dtype)
    return y


def _is_floating(x: Any) -> TypeGuard[Tensor]:
    """True for a Tensor of floats; x may be any argument of an op."""
    return isinstance(x, Tensor) and x._array.dtype.kind == "f"


def single(x: Any) -> Any:
    """A Tensor of floats in float32; any other argument of an op as it is."""
    if _is_floating(x):
        return x.to(F32)
    return x


def in_dtypes(dtypes: Dtypes = Function.dtypes) -> Callable[[F], F]:
    """A decorator for an op that consists of several ops: it fixes the dtypes in which all of them compute.

    First, operands are cast as autocast says. Then half floats become float32 for all steps, unless `dtypes`
    takes them as they are. The results, and the gradients, are rounded once.
    """

    def decorate(op: F) -> F:
        @wraps(op)
        def computed(*operands: Any, **settings: Any) -> Any:
            if dtypes.autocast is None or not _core._autocast(-1):  # -1 asks whether autocast is on
                return _computed(op, dtypes, operands, settings)
            cast_of = partial(_core._autocast_cast, dtypes.autocast)
            return _core._without_autocast(_computed, op, dtypes, *_each(cast_of, operands, settings))

        return computed  # type: ignore[return-value]

    return decorate


def _each(
    cast_of: Callable[[Any], Any], operands: tuple[Any, ...], settings: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of an op, each after `cast_of`, which leaves those that are no Tensors as they are."""
    return tuple(map(cast_of, operands)), {key: cast_of(x) for key, x in settings.items()}


def _computed(
    op: Callable[..., Any], dtypes: Dtypes, operands: tuple[Any, ...], settings: dict[str, Any]
) -> Any:
    """The result of an op of several steps, computed in the dtypes that `in_dtypes` says."""
    tensors = [x for x in (*operands, *settings.values()) if isinstance(x, Tensor)]
    result_dtype: np.dtype[Any] | None = None  # None: by promotion of the operands
    if dtypes.like_first:  # The first operand may be given by position or by keyword.
        first = operands[0] if operands else settings.get(op.__code__.co_varnames[0])
        if _is_floating(first):
            result_dtype = first._array.dtype
    if dtypes.halves == "float32" and not HALVES.isdisjoint([x._array.dtype for x in tensors]):
        final_dtype = _core._result_dtype(*tensors) if result_dtype is None else result_dtype
        if final_dtype in HALVES:
            operands, settings = _each(single, operands, settings)
            return rounded(_core._without_autocast(partial(op, *operands, **settings)), final_dtype)
    y = op(*operands, **settings)
    if result_dtype is not None:
        return y.to(result_dtype)
    return y


def _inputs_of_call(function: Function, inputs: tuple[TensorLike | None, ...]) -> tuple[Any, ...]:
    """The core calls it in `Function.apply` if an input is no Tensor, or if it is a batched one, of a call of
    vmap that has ended."""
    for x in inputs:
        level_of(x)  # raises
    return as_inputs(inputs, function._op_name())


def as_inputs(inputs: tuple[TensorLike | _Absent | None, ...], name: str) -> tuple[Any, ...]:
    """The inputs of a call as Tensors, and `_ABSENT` for None. Numbers get the dtype of PyTorch's promotion.

    The first must not be None. Raises TypeError for what is no Tensor, array or number.
    """
    tensors: list[Any] = []
    numbers = False
    for x in inputs:
        if isinstance(x, (Tensor, _Absent)):
            tensors.append(x)
        elif isinstance(x, ndarray):  # `plain` refuses arrays with a mask
            tensors.append(wrap(plain(name, x)))
        elif x is None and tensors:
            tensors.append(_ABSENT)
        elif isinstance(x, (int, float, np.integer, np.floating, np.bool_)):
            tensors.append(x)
            numbers = True
        elif hasattr(x, "__array__"):
            tensors.append(wrap(plain(name, np.asarray(x))))
        else:
            refuse_torch(name, "an argument", x)
            raise TypeError(f"[{name}] got {type(x).__name__}; expected a Tensor, a NumPy array or a number")
    if numbers:
        dtypes = [t._array.dtype for t in tensors if isinstance(t, Tensor)]
        for i, x in enumerate(tensors):
            if not hasattr(x, "_array"):
                tensors[i] = _number(name, x, dtypes)
    return tuple(tensors)


def _number(name: str, number: Number, dtypes: list[np.dtype[Any]]) -> Tensor:
    """A number among Tensors of these dtypes, as a Tensor of the dtype to which all are promoted."""
    dtype = _core._result_dtype(number, *dtypes)
    return wrap(keep(np.array(number_in(name, number, dtype), dtype)))


_core._set_changed(bump)
_core._set_function_class(Function, Output, _inputs_of_call, _ABSENT, _widened)


def once_differentiable(function: F) -> F:
    """A decorator for a static ``backward``: a call of it with create_graph=True is refused.

    >>> @once_differentiable
    ... def backward(ctx, dy):
    ...     return dy
    >>> backward.once_differentiable
    True
    """
    function.once_differentiable = True  # type: ignore[attr-defined]
    return function
