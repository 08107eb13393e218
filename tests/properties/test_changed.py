"""Inputs and results that are changed in place before backward.

Behind the tape's back, each input and result: the gradients are those of before, or backward is refused.

On the tape, results that are no views. A view shares the memory of an input (tests/tensors and tests/tape
have what may be done with it); every other result with a gradient is the op's own, which may be detached and
changed, whatever the op makes it from. Of two equal calls, the result of one is changed in place. Then the
gradients of its inputs have the bits of the other call's, to whose result an expression does the same.
"""

from typing import Any, NamedTuple

import numpy as np
import pytest
import ranvier as rv
from samples.sample import Call
from support.tolerance import equal

from properties.every import every_op, gradients, is_first, lacking, lacks


def overwrite(tensor):
    """True if it could be changed: expanded memory is not written."""
    try:
        with rv.no_grad():
            tensor.copy_(tensor == 0 if tensor.dtype == rv.bool else 1 - tensor)
    except (RuntimeError, ValueError):
        return False
    return True


def compare_after_changes(sample, create_graph):
    call = sample.tensors()
    ys = call()
    if not any(y.requires_grad for y in ys):
        return
    expected = gradients(ys, call.leaves, create_graph=create_graph)
    for k in range(len(call.inputs) + len(ys)):
        call = sample.tensors()
        ys = call()
        if overwrite([*call.inputs, *ys][k]):
            try:
                found = gradients(ys, call.leaves, create_graph=create_graph)
            except RuntimeError as error:
                if "modified by an inplace operation" not in str(error):
                    raise
                continue
            for x, y in zip(found, expected, strict=True):
                equal(*(z.numpy(force=True) for z in (x, y)), f"input or result {k}")


@every_op({})
def test_changed(sample):
    compare_after_changes(sample, create_graph=False)


@every_op(lacking("second"))
def test_changed_before_a_graph(sample):
    compare_after_changes(sample, create_graph=True)


class OwnResult(NamedTuple):
    call: Call  # made anew for this result
    result: rv.Tensor
    number: int  # the index of the result, if a call gives several


def owner(x: rv.Tensor) -> Any:
    """The object whose memory the Tensor shows; unlike shared elements it is there for an empty one, too."""
    array = x.numpy(force=True)
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


def own_results(sample):
    """Each result with a gradient that is no view."""
    for number in range(len(sample.tensors()())):
        call = sample.tensors()
        result = call()[number]
        is_view = any(owner(result) is owner(x) for x in (*call.inputs, *call.leaves))
        if result.requires_grad and not is_view:
            yield OwnResult(call, result, number)


@every_op({})
def test_detached(sample):
    """A detached result is a leaf of its own; what shared its memory before stays as it was."""
    for own in own_results(sample):
        y = own.result
        kept, alias = y.reshape(-1)[:1], y.detach()  # others that have the memory
        assert y.detach_() is y
        assert not y.requires_grad
        assert y.is_leaf
        assert not alias.requires_grad
        assert kept.requires_grad
        y.requires_grad_().sum().backward()
        assert (y.grad == 1).all()
        assert all(x.grad is None for x in own.call.leaves)


def compare(sample, change, expected):
    """The gradients of each own result after `change` in place are those of the expression `expected`."""
    for own in own_results(sample):
        again = sample.tensors()
        found = gradients([change(again()[own.number])], again.leaves)
        wanted = gradients([expected(own.result)], own.call.leaves)
        for y, z in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(y.numpy(), z.numpy())


@every_op({})
def test_changed_in_place(sample):
    compare(sample, lambda y: y.mul_(2.0).add_(1.0), lambda y: y * 2.0 + 1.0)


def written(y):
    """Without the tape: the gradients stay, as they are computed from what PyTorch saves, too."""
    with rv.no_grad():
        return y.zero_()


def begun_with_0(y):
    """Through a view, on the tape."""
    if y.numel():
        y[(0,) * y.ndim].zero_()
    return y


def times_mask(y):
    mask = np.ones(y.shape)
    mask.flat[:1] = 0
    return y * rv.tensor(mask)


def is_refused(sample, change, expected):
    """True if the gradient needs the result as it was; else the gradients are the expected ones."""
    try:
        compare(sample, change, expected)
    except RuntimeError as error:
        text = str(error)
        assert "modified by an inplace operation" in text
        return True
    return False


@pytest.mark.parametrize(("change", "expected"), [(written, lambda y: y), (begun_with_0, times_mask)])
@every_op({}, of=is_first)
def test_memory_is_written(sample, change, expected):
    """A backward after the change is refused for a sample of the op, or for none if it lacks `written`."""
    refused = [is_refused(one, change, expected) for one in sample.op.samples]
    assert any(refused) == lacks(sample, "written")
