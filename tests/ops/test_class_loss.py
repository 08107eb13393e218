"""Losses of class scores: what the properties of all ops do not say."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from support.refused import refusals, refused


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "int32", "int64", "uint64"])
def test_class_indices_of_any_integer_dtype(kind):
    x = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    want = ops.cross_entropy(x, np.array([1, 0])).item()
    assert ops.cross_entropy(x, np.array([1, 0], kind)).item() == want
    assert ops.cross_entropy(rv.tensor(x), rv.tensor(np.array([1, 0], kind))).item() == want


@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
def test_all_ignored(name, isa):
    """The mean of nothing is NaN; the other reductions and their gradients are 0."""
    target = np.array([-100, -100])
    for reduction, want in (("mean", np.nan), ("sum", 0.0), ("none", [0.0, 0.0])):
        x = rv.tensor([[1.0, 2.0, 3.0], [1.0, np.inf, np.nan]], requires_grad=True)
        loss = getattr(ops, name)(x, target, reduction=reduction)
        np.testing.assert_array_equal(loss.detach().numpy(), want)
        (slope,) = rv.autograd.grad(loss.sum(), x, create_graph=True)
        (second,) = rv.autograd.grad(slope.sum(), x)
        loss.sum().backward()
        for found in (x.grad, slope.detach(), second):
            np.testing.assert_array_equal(found.numpy(), np.zeros((2, 3)))


@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
@pytest.mark.parametrize("weight", [None, [0.5, 0.0, 2.0]])
def test_ignored_rows_beside_others(name, weight):
    """Their gradients are 0, whatever they hold, also with create_graph; others are as without them."""
    x = rv.tensor([[1.0, 2.0, 3.0], [1.0, np.inf, np.nan]], requires_grad=True)
    weight = None if weight is None else rv.tensor(weight)
    for target in (2, 1):  # the weight of 1 may be 0
        loss = getattr(ops, name)(x, rv.tensor([target, -100]), weight)
        (plain,) = rv.autograd.grad(loss, x, retain_graph=True)
        (slope,) = rv.autograd.grad(loss, x, create_graph=True)
        np.testing.assert_allclose(slope.detach().numpy(), plain.numpy(), 1e-6)
        assert slope[1].tolist() == rv.autograd.grad(slope.sum(), x)[0][1].tolist() == [0.0] * 3


@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
def test_a_single_sample(name):
    x = rv.tensor([1.0, 2.0, 3.0], requires_grad=True)
    batch = getattr(ops, name)(rv.tensor([[1.0, 2.0, 3.0]]), rv.tensor([1]))
    for reduction in ("mean", "sum", "none"):
        loss = getattr(ops, name)(x, rv.tensor(1), reduction=reduction)
        assert loss.shape == ()
        assert loss.item() == batch.item()
    loss.backward()
    assert x.grad.shape == (3,)


def test_single_sample_of_probabilities():
    x, p = rv.tensor([1.0, 2.0]), rv.tensor([0.25, 0.75])
    want = ops.cross_entropy(x.reshape(1, 2), p.reshape(1, 2)).item()
    assert ops.cross_entropy(x, p).item() == want


def test_extremes_stay_finite(isa):
    rows = np.array([[1e4, -1e4, 0.0]], np.float32)
    assert ops.cross_entropy(rows, np.array([1])).item() == 2e4


def test_weights_are_taken_as_given():
    """Sequences, arrays of another float dtype and strided ones."""
    x, t = rv.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]]), rv.tensor([0, 2])
    want = ops.cross_entropy(x, t, weight=rv.tensor([1.0, 2.0, 3.0])).item()
    for weight in ([1, 2, 3], np.array([1.0, 2.0, 3.0]), np.array([1.0, 0, 2, 0, 3, 0])[::2]):
        assert ops.cross_entropy(x, t, weight=weight).item() == want


def test_errors():
    x = np.zeros((4, 3), np.float32)
    with pytest.raises(
        ValueError,
        match=r"\[cross_entropy\] got class index 3 for x of shape \(4, 3\); expected 0 <= index < 3",
    ):
        ops.cross_entropy(x, np.array([0, 1, 3, 2]))
    wrong = refusals(ops.cross_entropy)
    wrong(ValueError, "got class index -1 for x", x, np.array([0, -1, 1, 2]))
    wrong(ValueError, "got class index -100 for x", x, np.array([0, -100, 1, 2]), ignore_index=0)
    with pytest.raises(
        ValueError, match=r"got class indices of shape \(4, 1\) for x of shape \(4, 3\); expected \(4,\)"
    ):
        ops.cross_entropy(x, np.zeros((4, 1), int))
    wrong(ValueError, "got x of shape (); expected (N, C)", np.float32(1) + x[0, 0], np.array(1))
    wrong(TypeError, "got target of dtype bool; expected an integer", x, np.zeros(4, bool))
    refused(TypeError, "[nll] got target of dtype float32; expected an integer", ops.nll, x, x)
    wrong(ValueError, "got weight of shape (4,); expected (3,)", x, np.zeros(4, int), weight=np.ones(4))
    with pytest.raises(ValueError, match=r"got label_smoothing 1.5; expected a number from 0 to 1"):
        ops.cross_entropy(x, np.zeros(4, int), label_smoothing=1.5)
    with pytest.raises(ValueError, match=r"\[cross_entropy\] got weight that requires a gradient"):
        ops.cross_entropy(x, np.zeros(4, int), weight=rv.ones(3, requires_grad=True))
