"""Arrays in the other order of bytes: copied into this machine's where they become Tensors, or refused."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.data import TensorDataset, default_collate, default_convert
from support.grouped import grouped
from support.refused import refused

OTHER = ">" if sys.byteorder == "little" else "<"


def swapped(dtype: str = "f4") -> np.ndarray[Any, Any]:
    return np.array([1.0, 2.0, 3.0], OTHER + dtype)


def as_data(x: Any) -> rv.Tensor:
    out = rv.zeros(3)
    out.data = x
    return out


TAKEN: dict[str, Callable[[Any], Any]] = {
    "tensor": rv.tensor, "tensor, dtype": lambda x: rv.tensor([1, 2, 3], dtype=x.dtype),
    "as_tensor": rv.as_tensor, "Tensor": rv.Tensor,
    "Parameter": lambda x: nn.Parameter(x, requires_grad=False), "data": as_data,
    "to": lambda x: rv.tensor([1, 2, 3]).to(x.dtype), "sort": lambda x: rv.sort(x)[0],
    "permute": lambda x: rv.permute(x, 0), "TensorDataset": lambda x: TensorDataset(x)[:][0],
    "default_convert": default_convert, "default_collate": lambda x: default_collate(list(x)),
}  # fmt: skip


@grouped("name", TAKEN)
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8", "i2"])
def test_in_this_machines_order(name: str, dtype: str) -> None:
    x = TAKEN[name](swapped(dtype))
    assert x.dtype.isnative
    assert x.tolist() == [1, 2, 3]


@pytest.mark.parametrize("make", [rv.tensor, rv.as_tensor])
def test_gradients(make: Any) -> None:
    """They got lost: a dtype that is not float32 was taken for none of the core's, and NumPy computed."""
    x = make(swapped()).requires_grad_()
    (rv.amin(x) + x.sum()).backward()
    assert x.grad.tolist() == [2, 1, 1]


def test_from_numpy_refuses() -> None:
    """It promises the array's own memory, which the core cannot read."""
    with pytest.raises(TypeError, match=r"\[from_numpy\] got an array of dtype .f4; expected .*: use tensor"):
        rv.from_numpy(swapped())


def test_masks_of_swapped_arrays_are_not_lost() -> None:
    refused(TypeError, "masked array", rv.tensor, np.ma.masked_array(swapped(), [True, False, False]))
