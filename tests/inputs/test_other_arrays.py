"""Arrays in the other order of bytes are copied into this machine's where they become Tensors, or refused.

Masked arrays are refused: nothing here would respect the mask. Both as operands and labels: wrong_arrays and
SAME_VALUES in tests/support/wrong_input.py.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.data import Standardize, TensorDataset, default_collate, default_convert
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
    "tensor": rv.tensor,
    "tensor, dtype": lambda x: rv.tensor([1, 2, 3], dtype=x.dtype),
    "as_tensor": rv.as_tensor,
    "Tensor": rv.Tensor,
    "Parameter": lambda x: nn.Parameter(x, requires_grad=False),
    "data": as_data,
    "to": lambda x: rv.tensor([1, 2, 3]).to(x.dtype),
    "sort": lambda x: rv.sort(x)[0],
    "permute": lambda x: rv.permute(x, 0),
    "TensorDataset": lambda x: TensorDataset(x)[:][0],
    "default_convert": default_convert,
    "default_collate": lambda x: default_collate(list(x)),
}


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


MASKED = np.ma.masked_array(np.ones((4, 3), np.float32), np.eye(4, 3, dtype=bool))
LABELS = np.ma.masked_array(np.array([0, 1, 0, 1]), [True, False, False, False])
CALLS: dict[str, Callable[[], Any]] = {
    "tensor": lambda: rv.tensor(MASKED),
    "as_tensor": lambda: rv.as_tensor(MASKED),
    "from_numpy": lambda: rv.from_numpy(MASKED),
    "Tensor": lambda: rv.Tensor(MASKED),
    "FloatTensor": lambda: rv.FloatTensor(MASKED),
    "zeros_like": lambda: rv.zeros_like(MASKED),
    "Parameter": lambda: nn.Parameter(MASKED),
    "data": lambda: setattr(rv.zeros(4, 3), "data", MASKED),
    "radd": lambda: rv.zeros(4, 3) + MASKED,
    "copy_": lambda: rv.zeros(4, 3).copy_(MASKED),
    "setitem": lambda: rv.zeros(4, 3).__setitem__(slice(None), MASKED),
    "setitem on the tape": lambda: rv.zeros(4, 3, requires_grad=True).clone().__setitem__(0, MASKED[0]),
    "backward": lambda: rv.ones(4, 3, requires_grad=True).clone().backward(MASKED),
    "TensorDataset": lambda: TensorDataset(MASKED, [0, 1, 0, 1]),
    "a layer": lambda: nn.Linear(3, 2)(MASKED),
    "Standardize": lambda: Standardize().fit(MASKED),
    "predict": lambda: trainer().predict(MASKED),
    "fit": lambda: trainer().fit(MASKED, LABELS.data, epochs=1),
    "fit labels": lambda: trainer().fit(MASKED.data, LABELS, epochs=1),
}


def trainer() -> rv.Trainer:
    model = nn.Linear(3, 2)
    return rv.Trainer(model, nn.CrossEntropyLoss(), rv.optim.SGD(model.parameters(), 0.1))


@pytest.mark.parametrize("name", CALLS)
def test_a_mask_is_refused_with_the_remedy(name: str) -> None:
    with pytest.raises(TypeError, match=r"\[[\w.]+\] got .*mask.*; expected .*filled\(value\)"):
        CALLS[name]()


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_filled_and_other_subclasses_are_taken() -> None:
    assert rv.tensor(MASKED.filled(7.0)).tolist()[0] == [7.0, 1.0, 1.0]
    assert rv.tensor(np.matrix([[1.0, 2.0]])).shape == (1, 2)
    assert rv.relu(np.matrix([[-1.0, 2.0]], dtype=np.float32)).tolist() == [[0.0, 2.0]]
