"""What libraries read of the constructors of optimizers and schedules."""

import inspect

import pytest
from ranvier import optim


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW, optim.lr_scheduler.StepLR])
def test_the_code_of_a_constructor_names_its_arguments(kind):
    """torchtuples gives an optimizer those of its settings that are among these names."""
    assert set(inspect.signature(kind).parameters) <= set(kind.__init__.__code__.co_varnames)


def test_errors_still_have_the_name():
    """The constructor works as before."""
    with pytest.raises(ValueError, match=r"^\[sgd\] got an empty"):
        optim.SGD([])
