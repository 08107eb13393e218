"""What libraries read of the constructors of optimizers and schedules; the memory that Tensor(array) has."""

import inspect

import numpy as np
import pytest
import ranvier as rv
from ranvier import optim
from ranvier.torch.optimizers import SparseAdam
from support.refused import refused


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW, optim.lr_scheduler.StepLR])
def test_the_code_of_a_constructor_names_its_arguments(kind):
    """torchtuples gives an optimizer those of its settings that are among these names."""
    assert set(inspect.signature(kind).parameters) <= set(kind.__init__.__code__.co_varnames)


def test_errors_still_have_the_name():
    """The constructor works as before."""
    with pytest.raises(ValueError, match=r"^\[sgd\] got an empty"):
        optim.SGD([])


@pytest.mark.parametrize(
    "setting", [{"lr": 0}, {"lr": float("nan")}, {"eps": 0}, {"betas": (-0.1, 0.9)}, {"betas": (0.9, 1)}]
)
def test_settings_of_sparse_adam_are_checked(setting):
    refused(ValueError, "[SparseAdam] got lr ", SparseAdam, [rv.ones(1, requires_grad=True)], **setting)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(rv.Tensor, "f4"), (rv.FloatTensor, "f4"), (rv.DoubleTensor, "f8"), (rv.LongTensor, "i8")],
)
def test_a_tensor_has_the_memory_of_an_array_of_its_dtype(kind, dtype):
    array = np.ones((2, 3), dtype)
    x = kind(array)
    array[0, 0] = 5
    x[1, 1] = 7
    x.mul_(2)
    np.testing.assert_array_equal(x.numpy(), [[10, 2, 2], [2, 14, 2]])
    np.testing.assert_array_equal(array, x.numpy())
    array.flags.writeable = False
    for other in (array, array.astype("u1"), array.tolist()):
        copied = kind(other)
        copied.zero_()
        assert array[0, 0] == 10
