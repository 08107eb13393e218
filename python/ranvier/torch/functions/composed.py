"""Functions of PyTorch that are made of this library's: decompositions, `segment_reduce`, and new tensors.

The new tensors are those on the memory of a buffer, with chosen strides, and complex ones (`make_complex`).
Complex Tensors are pairs of real ones here (`torch/tensors/pairs.py`). `installation/paths.json` says which
name of torch each function has.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

import ranvier as rv
from ranvier import Tensor
from ranvier.nn import Module
from ranvier.tensors.memory import Array, bools
from ranvier.tensors.types import DtypeLike, ShapeLike
from ranvier.torch.tensors.pair_functions import complex_of, view_as_complex
from ranvier.torch.tensors.pairs import as_complex

_Module = TypeVar("_Module", bound=Module)

Eig = namedtuple("Eig", "eigenvalues eigenvectors")
SVD = namedtuple("SVD", "U S V")


def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> SVD:
    """(U, S, V) with input = U diag(S) V^T; some: U and V have only as many columns as S has values.

    compute_uv=False: U and V are zeros.

    >>> import ranvier as rv
    >>> u, s, v = svd(rv.tensor([[0.0, 2.0], [1.0, 0.0]]))
    >>> (u @ rv.diag(s) @ v.mT).round(decimals=4).tolist()
    [[0.0, 2.0], [1.0, 0.0]]
    """
    u, s, vh = rv.linalg.svd(input, full_matrices=not some)
    if not compute_uv:
        return SVD(rv.zeros_like(u), s, rv.zeros_like(vh.mT))
    return SVD(u, s, vh.mT)


def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None) -> SVD:
    """An approximation of (U, S, V) for the q largest singular values of A - M.

    A is multiplied by random columns, then niter steps of subspace iteration follow (Halko, Martinsson and
    Tropp, 2011, algorithm 5.1).

    >>> import ranvier as rv
    >>> u, s, v = svd_lowrank(rv.tensor([[0.0, 2.0], [0.0, 0.0], [0.0, 0.0]]), 1)
    >>> s.round(decimals=4).tolist()
    [2.0]
    """
    if M is not None:
        A = A - rv.broadcast_to(rv.as_tensor(M), A.shape)
    is_wide = A.shape[-2] < A.shape[-1]
    if is_wide:
        A = A.mT
    columns = 6 if q is None else q
    steps = 2 if niter is None else niter
    samples = A @ rv.randn(A.shape[-1], columns, dtype=A.dtype)
    basis = rv.linalg.qr(samples).Q
    for _ in range(steps):
        row_basis = rv.linalg.qr(A.mT @ basis).Q
        basis = rv.linalg.qr(A @ row_basis).Q
    u, s, vh = rv.linalg.svd(basis.mT @ A, full_matrices=False)
    u = basis @ u
    v = vh.mT
    if is_wide:
        return SVD(v, s, u)
    return SVD(u, s, v)


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> SVD:
    """`svd_lowrank` of A minus the means of its columns. q None: min(6, rows, columns)."""
    if q is None:
        q = min(6, *A.shape[-2:])
    if center:
        A = A - A.mean(-2, True)
    return svd_lowrank(A, q, niter)


def skip_init(module_cls: Callable[..., _Module], *args: Any, **kwargs: Any) -> _Module:
    """A module whose parameters' first values do not matter: it takes no numbers of the random stream."""
    with rv.random.fork_rng():
        return module_cls(*args, **kwargs)


def eig(A: Tensor) -> Eig:
    """Eigenvalues, in no order, and eigenvectors, as columns, of square matrices: complex numbers.

    Raises ValueError for other shapes and values that are not finite, NotImplementedError where A requires
    gradients.

    >>> import ranvier as rv
    >>> eig(rv.tensor([[2.0, 1.0], [0.0, 3.0]])).eigenvalues.real
    tensor([2., 3.])
    """
    return _decompose("eig", A)


def eigvals(A: Tensor) -> rv.Tensor:
    """The eigenvalues that :func:`eig` gives."""
    return _decompose("eigvals", A).eigenvalues


def _decompose(name: str, A: Tensor) -> Eig:
    """`eig`, with errors that begin with the name of the function that was called."""
    A = rv.as_tensor(A)
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise ValueError(f"[{name}] got A of shape {A.shape}; expected square matrices")
    if A.requires_grad and rv.is_grad_enabled():
        raise NotImplementedError(
            f"[{name}] got a matrix with gradients; expected A.detach(), or linalg.eigh"
        )
    try:
        values, vectors = np.linalg.eig(A.detach().numpy())
    except np.linalg.LinAlgError as error:
        raise rv.linalg.LinAlgError(f"[{name}] got A without a result; expected finite values") from error
    return Eig(_complex_tensor(values), _complex_tensor(vectors))


def _complex_tensor(numbers: Array) -> Any:
    """A complex Tensor of NumPy's complex numbers."""
    pairs = np.stack([numbers.real, numbers.imag], -1)
    return view_as_complex(rv.from_numpy(pairs))


def make_complex(function: Callable[..., Any], args: Sequence[Any], settings: dict[str, Any]) -> Any:
    """The complex result of a function that makes tensors, such as zeros of a complex dtype.

    function, args, settings: the call as the program wrote it. Returns None if the function has no complex
    results. `failed` of `dispatch.py` calls it after the call has raised an error about complex numbers.
    """
    name = function.__name__
    dtype = settings.get("dtype")
    if name in ("tensor", "as_tensor", "asarray", "from_numpy"):
        array = np.asarray(args[0])
        if dtype is None:
            # Python's numbers have the default precision, arrays keep theirs
            is_double = hasattr(args[0], "dtype") and array.itemsize > np.dtype(np.complex64).itemsize
        else:
            is_double = dtype == rv.complex128
        if is_double:
            return as_complex(array.astype(np.complex128))
        return as_complex(array.astype(np.complex64))
    if name == "full":
        return _full(function, *args, **settings)
    settings = {**settings, "dtype": dtype}
    if isinstance(dtype, rv.dtype):
        settings["dtype"] = dtype.to_real()
    if name in ("rand", "randn"):  # real and imaginary part are drawn one after the other, as in PyTorch
        size = args
        if isinstance(args[0], (tuple, list)):
            size = args[0]
        pairs = function(*size, 2, **settings)
        if name == "randn":
            pairs = pairs * 0.5**0.5  # each of the two has half of the variance
        return view_as_complex(pairs)
    if name in ("zeros", "ones", "empty", "eye", "zeros_like", "ones_like"):
        real = function(*args, **settings)
        return complex_of(real, rv.zeros_like(real))
    return None


def _full(
    function: Callable[..., Tensor],
    size: ShapeLike,
    fill_value: complex,
    dtype: rv.dtype | None = None,
    **settings: Any,
) -> Any:
    """function, which is rv.full, of a complex number: both parts are filled separately."""
    if dtype is not None:
        dtype = dtype.to_real()
    real = function(size, float(fill_value.real), dtype=dtype, **settings)
    imag = function(size, float(fill_value.imag), dtype=dtype, **settings)
    return complex_of(real, imag)


def scale_tril(P: Tensor) -> rv.Tensor:
    """The lower triangular L with L L^T the inverse of P.

    >>> scale_tril(rv.tensor([[4.0]]))
    tensor([[0.5000]])
    """
    return rv.linalg.cholesky(rv.linalg.inv(P))


def clipped_sigmoid(x: Tensor) -> rv.Tensor:
    """The sigmoid, neither 0 nor 1."""
    limits = rv.finfo(x.dtype)
    return rv.clamp(rv.sigmoid(x), min=limits.tiny, max=1.0 - limits.eps)


def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: ShapeLike,
    stride: ShapeLike | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """y[o] = (sum of x^norm_type over a window)^(1 / norm_type): (N, C, L) or (C, L).

    >>> import ranvier as rv
    >>> lp_pool1d(rv.tensor([[3.0, 4.0, 6.0, 8.0]]), 2, 2)
    tensor([[ 5., 10.]])
    """
    windows = (1, kernel_size)
    strides = None if stride is None else (1, stride)
    is_batch = input.ndim == 3
    if not is_batch:
        input = input.unsqueeze(0)
    images = input.unsqueeze(-2)  # of one row
    y = rv.nn.functional.lp_pool2d(images, norm_type, windows, strides, ceil_mode).squeeze(-2)
    if is_batch:
        return y
    return y.squeeze(0)


# What a segment without rows gives, by the name of the reduction in `scatter_reduce`.
_EMPTY = {"sum": 0.0, "prod": 1.0, "mean": float("nan"), "amax": -float("inf"), "amin": float("inf")}


def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: float | None = None,
) -> Tensor:
    """The sum, mean, product, max or min of consecutive rows, `lengths[i]` of them or from `offsets[i]` on.

    initial: what each segment begins with, and what one without rows gives.

    Raises ValueError for another reduction or axis, and for lengths that are not those of the rows.

    >>> import ranvier as rv
    >>> segment_reduce(rv.tensor([1.0, 2.0, 5.0]), "max", lengths=rv.tensor([2, 1]))
    tensor([2., 5.])
    """
    name = {"max": "amax", "min": "amin"}.get(reduce, reduce)
    counts = lengths if offsets is None else offsets.diff()
    if name not in _EMPTY or axis != 0 or counts is None or counts.ndim != 1 or counts.sum() != len(data):
        raise ValueError(
            f"[segment_reduce] got reduce {reduce!r}, axis {axis} and lengths {counts} of {len(data)} rows; "
            "expected sum, mean, prod, max or min, axis 0, and one vector of lengths with this sum"
        )
    if initial is None:
        empty = _EMPTY[name]
    else:
        empty = float(initial)
    start = empty  # what each segment begins with; of a mean without `initial` the sum begins with 0
    if name == "mean" and initial is None:
        start = 0.0
    shape = (len(counts), *data.shape[1:])
    ones = (1,) * (data.ndim - 1)  # the other dimensions of a row, to which vectors are broadcast
    segments = rv.arange(len(counts)).repeat_interleave(counts)  # of each row
    index = segments.view(-1, *ones).expand(data.shape)
    starts = rv.full(shape, start, dtype=data.dtype)
    if name != "mean":
        return rv.scatter_reduce(starts, 0, index, data, name)
    sums = rv.scatter_reduce(starts, 0, index, data, "sum")
    means = sums / counts.clamp(min=1).view(-1, *ones)
    return rv.where(counts.eq(0).view(-1, *ones), empty, means)


def row_starts(input: Tensor, size: int, *, out_int32: bool = False) -> Tensor:
    """For sorted row numbers: where each of `size` rows begins, and the end, as in the format of compressed
    rows.

    >>> import ranvier as rv
    >>> row_starts(rv.tensor([0, 0, 2]), 3)
    tensor([0, 2, 2, 3])
    """
    return rv.searchsorted(input, rv.arange(size + 1, dtype=input.dtype), out_int32=out_int32)


# --- memory
def frombuffer(
    buffer: bytes | bytearray | memoryview | Array,
    *,
    dtype: DtypeLike,
    count: int = -1,
    offset: int = 0,
    requires_grad: bool = False,
) -> rv.Tensor:
    """A tensor on the memory of a buffer, such as a bytearray or an array.

    It is a copy if the buffer is read-only, and for bools if some bytes are neither 0 nor 1. offset: in
    bytes. count: the number of elements; -1 for all that follow.
    """
    array = np.frombuffer(buffer, dtype, count, offset)
    if array.dtype.kind == "b":
        array = bools(array.view(np.uint8))
    if not array.flags.writeable:
        array = array.copy()
    return rv.from_numpy(array).requires_grad_(requires_grad)


class Nothing:
    """An empty tensor of a dtype that NumPy lacks, from which libraries read the size of an element."""

    shape = rv.Size([0])
    ndim = 1

    def __init__(self, dtype: rv.dtype) -> None:
        self.dtype = dtype
        self.itemsize = dtype.itemsize

    def element_size(self) -> int:
        return self.itemsize

    def numel(self) -> int:
        return 0

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"[{name}] got a tensor of {self.dtype}; expected a dtype that NumPy has")


def empty(*size: ShapeLike, dtype: DtypeLike | None = None, **settings: Any) -> Any:
    """rv.empty; an empty tensor may also have a dtype in which nothing can be computed (`Nothing`).

    >>> empty(0, dtype=rv.float8_e5m2).element_size()
    1
    """
    if type(dtype) is rv.dtype and not hasattr(dtype, "char") and size in ((0,), ([0],), ((0,),)):
        return Nothing(dtype)
    return rv.empty(*size, dtype=dtype, **settings)


def empty_strided(size: Sequence[int], stride: Sequence[int], **settings: Any) -> rv.Tensor:
    """A tensor of these sizes and strides, with undefined values.

    >>> empty_strided((2, 3), (1, 2)).stride()
    (1, 2)
    """
    last = sum((n - 1) * step for n, step in zip(size, stride, strict=True))  # the place of the last element
    if all(size):
        count = last + 1
    else:
        count = 0
    requires_grad = settings.pop("requires_grad", False)
    memory = rv.empty(count, **settings)
    return memory.as_strided(size, stride).detach().requires_grad_(requires_grad)


def empty_permuted(size: Sequence[int], physical_layout: Sequence[int], **settings: Any) -> rv.Tensor:
    """A tensor of these sizes, with undefined values; physical_layout: its dimensions in their order in
    memory.

    >>> empty_permuted((2, 3), (1, 0)).stride()
    (1, 2)
    """
    steps = [0] * len(size)
    step = 1
    for dim in reversed(physical_layout):
        steps[dim] = step
        step *= max(size[dim], 1)
    return empty_strided(size, steps, **settings)


def is_inference(input: Tensor) -> bool:
    return bool(input.is_inference())
