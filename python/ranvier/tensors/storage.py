"""The memory of tensors as objects: what ``untyped_storage()`` and ``storage()`` return."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.tensors.devices import CPU
from ranvier.tensors.memory import Array

if TYPE_CHECKING:
    from typing import Literal

    from ranvier.tensors.types import DeviceLike, DtypeLike, Key

__all__ = ["TypedStorage", "UntypedStorage"]


class _Storage:
    device = CPU
    is_cuda = is_sparse = False
    _array: Array

    def size(self) -> int:
        return self._array.size

    __len__ = size

    def nbytes(self) -> int:
        return self._array.nbytes

    def __sizeof__(self) -> int:
        return super().__sizeof__() + self._array.nbytes

    def tolist(self) -> list[Any]:
        return list(self._array.tolist())

    def is_shared(self) -> bool:
        """False: no other process has the memory."""
        return False


class UntypedStorage(_Storage):
    """Bytes, of which tensors show parts: all of ``x.untyped_storage()``, whatever part of it x is.

    Programs compare its address, to find tensors that share memory, and read its length.

    >>> import ranvier as rv
    >>> x = rv.zeros(6)
    >>> x[2:].untyped_storage().data_ptr() == x.untyped_storage().data_ptr(), x.untyped_storage().nbytes()
    (True, 24)
    """

    def __init__(self, size: int | Array = 0) -> None:
        """size: in bytes; or an array, of whose memory it is."""
        if isinstance(size, np.ndarray):
            array = size
        else:
            array = np.zeros(size, np.uint8)
        self._array = array.reshape(-1).view(np.uint8)

    @classmethod
    def from_file(cls, filename: str, shared: bool = False, nbytes: int = 0) -> UntypedStorage:
        """The first bytes of a file, mapped into memory; shared: changes are written to the file."""
        from ranvier.tensors.mapped_files import MappedFile, mapped  # here: a millisecond of `import ranvier`

        size = os.path.getsize(filename)
        if nbytes > size:
            raise RuntimeError(
                f"[from_file] got {nbytes} bytes of a file of {size}; expected at most as many"
            )
        mode: Literal["r+b", "rb"] = "r+b" if shared else "rb"
        with open(filename, mode) as stream:
            memory: MappedFile | bytearray | None = None
            if nbytes and shared:
                memory = MappedFile(stream, shared=True)
            elif nbytes:
                memory = mapped(stream)
            if memory is None:
                memory = bytearray(stream.read(nbytes))
            return cls(np.frombuffer(memory, np.uint8, nbytes))

    @classmethod
    def _new_shared(cls, size: int, *, device: DeviceLike | None = None) -> UntypedStorage:
        """New memory. PyTorch's worker processes put a batch there; here workers run in this process."""
        return cls(size)

    def data_ptr(self) -> int:
        """The address of the first byte; 0 without bytes."""
        if self._array.size:
            return int(self._array.ctypes.data)
        return 0

    def __getitem__(self, key: int | slice) -> Any:
        """One byte as a number; of a slice, a new storage on the same memory."""
        if isinstance(key, slice):
            return UntypedStorage(np.frombuffer(self._array.data[key], np.uint8))
        return int(self._array[key])

    def __array__(self, dtype: DtypeLike | None = None, copy: bool | None = None) -> Array:
        if dtype is not None and dtype != np.uint8:
            return self._array.astype(dtype)
        return self._array

    def untyped(self) -> UntypedStorage:
        return self

    def __repr__(self) -> str:
        return f"<UntypedStorage of {self.nbytes()} bytes>"


class TypedStorage(_Storage):
    """Memory as elements of one dtype: what ``x.storage()`` gives, all of it, whatever part of it x is.

    >>> import ranvier as rv
    >>> x = rv.zeros(6)
    >>> x[2:].storage().size(), x.new(x.storage()).shape
    (6, (6,))
    """

    def __init__(self, memory: UntypedStorage, dtype: DtypeLike | None) -> None:
        self._untyped_storage = memory
        self.dtype = dtype
        self._array = memory._array.view(dtype)

    def _new_shared(self, size: int, device: DeviceLike | None = None) -> TypedStorage:
        return TypedStorage(UntypedStorage(size * self.element_size()), self.dtype)

    def untyped(self) -> UntypedStorage:
        return self._untyped_storage

    def element_size(self) -> int:
        return self._array.itemsize

    def __getitem__(self, key: Key) -> Any:
        return self._array[key].tolist()

    def data_ptr(self) -> int:
        """The address of the first byte; 0 without bytes."""
        return self._untyped_storage.data_ptr()

    def __repr__(self) -> str:
        return f"<TypedStorage of {self.size()} elements of {self.dtype}>"
