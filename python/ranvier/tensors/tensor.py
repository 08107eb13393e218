"""The class Tensor: a NumPy array, its gradient, and the Function that made it.

Methods that need modules above this one (operators, ops, backward) are attached to the class in
ops/attach.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import current, observers, value_read
from ranvier.tensors.data import Size, layout, sized_or_copied
from ranvier.tensors.deepcopy_pickle import deepcopied, fill, rebuild, reduced
from ranvier.tensors.devices import CPU
from ranvier.tensors.dtypes import default
from ranvier.tensors.errors import index, no_dim
from ranvier.tensors.failures import OpError, SeveralElements
from ranvier.tensors.lending import as_capsule, asarray, numpy
from ranvier.tensors.memory import Computed, array_from, is_batched, plain, require_writeable
from ranvier.tensors.recording import host
from ranvier.tensors.replaced import note
from ranvier.tensors.views import begin_gradients, hides_base, share

if TYPE_CHECKING:
    from ranvier.tensors.memory import Array

ndarray = np.ndarray
wrap: Callable[..., Tensor] = _core._wrap  # (array, requires_grad=False): a Tensor without a copy or a check


def by_numpy(function: Callable[..., Any], *operands: Any) -> Tensor:
    """The result of ``host(function, *operands)`` as a Tensor."""
    return wrap(array_from(host(function, *operands)))


def borrowed(array: np.ndarray[Any, Any]) -> Tensor:
    """A Tensor of the caller's array, which must not change: `before_writing` (views.py) copies the memory
    before a change in place."""
    tensor = wrap(array)
    cell = tensor._cell
    cell.borrowed = True
    cell.inference = False  # the memory is older than a block of inference_mode()
    return tensor


def set_grad(tensor: Tensor, value: Tensor | None = None) -> None:
    """Sets Tensor.grad to a gradient of the same shape and dtype, or to None."""
    if value is not None:
        if not hasattr(value, "_cell"):
            raise TypeError(f"[grad] got {type(value).__name__}; expected a Tensor or None")
        gradient = value._array
        array = tensor._array
        if value is tensor:
            raise RuntimeError("[grad] got the tensor itself; expected another Tensor")
        if gradient.shape != array.shape:
            raise RuntimeError(f"[grad] got a gradient of shape {gradient.shape}; expected {array.shape}")
        if gradient.dtype != array.dtype:
            raise RuntimeError(f"[grad] got a gradient of dtype {gradient.dtype}; expected {array.dtype}")
    recording = current() if observers else None
    if recording is not None:
        recording.sets_gradient(tensor)
    tensor._grad = value


def set_requires_grad(tensor: Tensor, value: bool, name: str = "requires_grad") -> None:
    """Sets Tensor.requires_grad of a leaf. name: the method, which errors begin with."""
    if type(value) is not bool:
        raise TypeError(f"[{name}] got {value!r}; expected True or False")
    if tensor._grad_fn is not None:
        raise RuntimeError(
            f"[{name}] got {value} for a tensor that an operation has made; expected a leaf: you can only "
            "change requires_grad flags of leaf variables; detach() gives a tensor that needs no gradient"
        )
    if value and tensor._array.dtype.kind != "f":
        raise RuntimeError(
            f"[{name}] got a tensor of {tensor._array.dtype}; expected floats: only Tensors of floating "
            "point dtype can require gradients"
        )
    begins = value and not tensor._requires_grad
    tensor._requires_grad = value
    if begins and tensor._cell.links:
        begin_gradients(tensor)


def set_data(tensor: Tensor, value: Tensor | Array | float) -> None:
    """Gives the tensor the memory of a value. Tensors that shared its old memory keep the old memory."""
    if type(tensor._array.base) is Computed:
        require_writeable("data", tensor._array)
    if isinstance(value, Tensor):
        array = value._array
    else:
        array = np.asarray(plain("data", value))
    if is_batched(array):
        raise RuntimeError("[data] got a Tensor that differs from slice to slice of vmap; expected copy_()")
    if tensor._requires_grad and array.dtype.kind != "f":
        raise RuntimeError(
            f"[data] got dtype {array.dtype} for a tensor that requires gradients; expected floats"
        )
    cell = _core._Cell()
    cell.changes = tensor._cell.changes
    cell.unwatched = True
    if isinstance(value, Tensor):
        cell.aliased = True
        value._cell.unwatched = True
        value._cell.aliased = True
    note(tensor, array, cell)
    tensor._array = array
    tensor._view = None
    tensor._cell = cell


# memory format -> the axes of a tensor in the order of its memory
_CHANNELS_LAST = {"channels_last": (0, 2, 3, 1), "channels_last_3d": (0, 2, 3, 4, 1)}


class Tensor:
    """An array that can be differentiated, as PyTorch's on the CPU.

    ``Tensor(data)`` makes a tensor of the default dtype, float32, of the data, on the memory of an array of
    that dtype; ``Tensor(2, 3)`` one of that shape, filled with 0.
    :func:`ranvier.tensor` keeps the dtype of the data, and takes numbers.
    The operators and most methods are the functions of ``ranvier.ops``.

    >>> import ranvier as rv
    >>> x = rv.Tensor([[1, 2], [3, 4]])
    >>> x.shape, x.dtype, x.requires_grad
    ((2, 2), torch.float32, False)
    """

    __slots__ = ("__dict__", "__weakref__", "_array", "_cell", "_grad", "_grad_fn", "_requires_grad", "_view")

    _array: np.ndarray[Any, Any]
    _cell: _core._Cell  # what is known of the memory, shared by all Tensors on it: see views.py
    _grad: Tensor | None
    _view: tuple[Any, tuple[Any, ...], str] | None  # what it is a view of: see views.py
    _requires_grad: bool
    _grad_fn: Any

    __array_priority__ = 1000  # array + tensor calls the Tensor's operator, which records it

    def __init__(self, *data: Any, requires_grad: bool = False, **settings: Any) -> None:
        if not hasattr(self, "_array"):  # Otherwise `__new__` of a subclass has made the array.
            array = sized_or_copied("Tensor", data, default.dtype, shared=True, **settings)
            fill(self, array, requires_grad)
            if data and array is data[0]:
                self._cell.unwatched = True

    if TYPE_CHECKING:  # attached methods
        backward: Callable[..., None]
        retain_grad: Callable[[], None]
        register_hook: Callable[..., Any]
        register_post_accumulate_grad_hook: Callable[..., Any]
        retains_grad: bool
        to: Callable[..., Tensor]
        clone: Callable[..., Tensor]
        contiguous: Callable[..., Tensor]
        untyped_storage: Callable[[], Any]
        fill_: Callable[..., Tensor]
        zero_: Callable[[], Tensor]
        copy_: Callable[..., Tensor]

        def __getattr__(self, name: str) -> Any: ...
        def __setitem__(self, key: Any, value: Tensor | Array | complex) -> None: ...
        def __getitem__(self, key: Any) -> Any: ...
        def __iter__(self) -> Iterator[Any]: ...
        def __neg__(self) -> Any: ...
        def __add__(self, other: Any) -> Any: ...
        def __eq__(self, other: object) -> Any: ...
        def __ne__(self, other: object) -> Any: ...

        __abs__ = __invert__ = __neg__
        __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __add__
        __pow__ = __rpow__ = __matmul__ = __rmatmul__ = __lt__ = __le__ = __gt__ = __ge__ = __add__
        __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __add__

    # --- attributes of a node of the tape, as which a leaf Tensor counts; programs cannot set them
    edges = property(lambda self: ())
    hooks = property(lambda self: None)

    # --- what it is
    if TYPE_CHECKING:
        shape: Size
        dtype: Any  # the object of dtypes.py, read in C
        ndim: int
        itemsize: int
        nbytes: int
        requires_grad: bool
        grad_fn: Any

        @property
        def grad(self) -> Tensor | None: ...
        @grad.setter
        def grad(self, value: Tensor | None) -> None: ...
    else:  # read by C, since they are read often
        ndim = property(attrgetter("_array.ndim"))
        itemsize = property(attrgetter("_array.itemsize"))
        nbytes = property(attrgetter("_array.nbytes"))
        grad = property(_core._grad, set_grad, set_grad, "What backward has added up, or None.")
        requires_grad = property(
            attrgetter("_requires_grad"),
            set_requires_grad,
            doc="Whether backward computes its gradient; can be set for leaves only.",
        )
        grad_fn = property(attrgetter("_grad_fn"))  # replaced in nodes.py
    device = property(lambda self: CPU)
    is_cpu = True
    is_cuda = is_mps = is_xpu = is_sparse = is_quantized = is_meta = is_nested = False
    layout = layout("strided")
    is_leaf = property(lambda self: self._grad_fn is None)
    _version = property(lambda self: self._cell.changes)
    _cdata = property(id)  # PyTorch's address of the C++ object, which tells whether two Tensors are one

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length along one dimension."""
        try:
            if dim is None:
                return self.shape
            if type(dim) is not int:
                dim = index(dim)
            return self._array.shape[dim]
        except Exception as error:
            raise no_dim("size", dim, self.ndim, error) from None

    def dim(self) -> int:
        return self._array.ndim

    ndimension = dim

    def numel(self) -> int:
        return self._array.size

    nelement = numel

    def element_size(self) -> int:
        return self._array.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Steps in elements, as PyTorch counts them."""
        shape = self._array.shape
        steps = _core._steps(self)  # in elements
        if 0 in shape and not any(steps):  # A new array of NumPy without elements has steps of 0.
            sizes = [max(n, 1) for n in shape]
            steps = tuple(math.prod(sizes[at + 1 :]) for at in range(len(sizes)))
        try:
            if dim is None:
                return steps
            return steps[index(dim)]
        except Exception as error:
            raise no_dim("stride", dim, self.ndim, error) from None

    def is_contiguous(self, memory_format: str | None = None) -> bool:
        """True if the memory is in C order, or with ``ranvier.channels_last`` in that order."""
        if memory_format is None or memory_format == "contiguous_format":
            return self._array.flags.c_contiguous
        axes = _CHANNELS_LAST.get(str(memory_format).removeprefix("torch."))
        if axes is None:
            raise OpError(
                f"[is_contiguous] got memory_format {memory_format!r}; expected contiguous_format, "
                "channels_last or channels_last_3d"
            )
        return self._array.ndim == len(axes) and bool(self._array.transpose(axes).flags.c_contiguous)

    def is_floating_point(self) -> bool:
        return self._array.dtype.kind == "f"

    def is_complex(self) -> bool:
        return False

    is_conj = is_pinned = is_shared = is_complex
    real = property(lambda self: self, lambda self, value: self.copy_(value))

    def is_signed(self) -> bool:
        return self._array.dtype.kind in "fi"

    def get_device(self) -> int:
        """The number of the device: -1, the CPU."""
        return -1

    def is_same_size(self, other: Tensor) -> bool:
        if not isinstance(other, Tensor):
            raise TypeError(f"[is_same_size] got {type(other).__name__}; expected a Tensor")
        return self._array.shape == other._array.shape

    def data_ptr(self) -> int:
        self._cell.unwatched = True  # Code that has the address may write there.
        return int(self._read("data_ptr()").ctypes.data)

    # --- the tape
    def detach(self) -> Tensor:
        """The same memory, off the tape."""
        return _core._detached(self)

    def detach_(self) -> Tensor:
        """Takes this tensor itself off the tape. Raises RuntimeError for a view: use detach()."""
        if self._view is not None:
            if not hides_base(self):
                raise RuntimeError(
                    "[detach_] got a view, which follows its base; expected no view: use detach()"
                )
            self._view = None
        self._grad_fn = None
        self._requires_grad = False
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Sets ``requires_grad`` of a floating leaf. Returns the tensor itself."""
        if self._grad_fn is None or requires_grad is not True:
            set_requires_grad(self, requires_grad, "requires_grad_")
        return self

    @property
    def data(self) -> Tensor:
        """The same memory, off the tape; backward does not notice changes of it."""
        out = wrap(self._array)
        for cell in (self._cell, out._cell):
            cell.unwatched = True
            cell.aliased = True
        return out

    @data.setter
    def data(self, value: Tensor | Array | float) -> None:
        set_data(self, value)

    # --- the array, for NumPy and others
    def _read(self, how: str) -> np.ndarray[Any, Any]:
        """The array, for code that uses its values in Python. A recorded step that does so runs eagerly,
        since a replay would not compute with new values."""
        if observers:
            value_read(how, self)
        return self._array

    numpy = numpy
    __array__ = asarray
    __dlpack__ = as_capsule

    def __array_wrap__(self, array: Array, context: object = None, return_scalar: bool = False) -> Any:
        """The result of NumPy's functions for a Tensor, as a Tensor: ``np.sqrt(x)``."""
        if array.dtype.kind in "biuf":
            return wrap(np.asarray(array))
        return array

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()

    def item(self) -> Any:
        """The one element, as a Python number."""
        if self._array.size != 1:
            raise SeveralElements(
                f"[item] got a Tensor with {self._array.size} elements; expected one: tolist() gives all"
            )
        return self._read("item()").item()

    def tolist(self) -> Any:
        return self._read("tolist()").tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        # With a TypeError for a mask of one element, NumPy reads the mask as an array instead of as an index.
        kinds = "iu" if self._array.ndim else "iub"
        if self._array.dtype.kind not in kinds:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __bool__(self) -> bool:
        if self._array.size != 1:
            raise RuntimeError(f"Boolean value of Tensor with {self._array.size} values is ambiguous")
        return bool(self._read("a condition").item())

    def __len__(self) -> int:
        if self._array.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return len(self._array)

    def __contains__(self, value: object) -> bool:
        elements = self._read("`in`")
        searched = value._array if isinstance(value, Tensor) else value
        return bool((elements == searched).any())

    __hash__ = object.__hash__  # Tensors are hashed by identity, whatever == gives.

    def __dir__(self) -> list[str]:
        return sorted(name for name in object.__dir__(self) if name not in ("edges", "hooks"))

    # --- text and copies
    def __repr__(self) -> str:
        from ranvier.tensors.printing import text

        return text(self)

    def __format__(self, spec: str) -> str:
        if self._array.ndim == 0 and (spec or type(self) is Tensor):
            return format(self.item(), spec)
        return object.__format__(self, spec)

    def __copy__(self) -> Tensor:
        out = rebuild(type(self), self._array, self._requires_grad)
        share(self, out)  # Both have one memory, so they have one count of its changes.
        out.__dict__.update(self.__dict__)
        return out

    __deepcopy__ = deepcopied
    __reduce__ = reduced


_core._set_tensor_class(Tensor, Size)
