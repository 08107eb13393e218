"""Losses: forward and backward against the references."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from ranvier.reference import loss as reference
from support.op_case import OpCase

REDUCTIONS = tuple({"reduction_name": name} for name in ("mean", "sum", "none"))


class LossCase(OpCase):
    variants = REDUCTIONS
    torch_name = ""

    def inputs(self, rng, dtype):
        shape = (3, 4, 5, 7)
        return rng.uniform(-3, 3, shape).astype(dtype), rng.uniform(-2, 2, shape).astype(dtype)

    def large_inputs(self, rng, dtype):
        return tuple(np.resize(a, (211, 503)) for a in self.inputs(rng, dtype))

    def empty_inputs(self, dtype):
        return np.zeros((0, 3), dtype), np.zeros((0, 3), dtype)

    def reduction(self, x, target):
        return x.size

    def op(self, x, target):
        return getattr(ops, self.op_name)(x, target, self.reduction_name)

    def reference(self, x, target):
        return getattr(reference, self.op_name)(x, target, self.reduction_name)

    def reference_backward(self, dy, x, target):
        backward = getattr(reference, f"{self.op_name}_backward")
        return backward(dy, x, target, self.reduction_name)

    def torch_op(self, torch, x, target):
        function = getattr(torch.nn.functional, self.torch_name or self.op_name)
        return function(x, target, reduction=self.reduction_name)


class TestMse(LossCase):
    op_name = "mse"
    torch_name = "mse_loss"


class TestBce(LossCase):
    op_name = "bce"
    torch_name = "binary_cross_entropy"

    def inputs(self, rng, dtype):
        shape = (3, 4, 5, 7)
        return rng.uniform(0.05, 0.95, shape).astype(dtype), rng.uniform(0, 1, shape).astype(dtype)


class TestBceWithLogits(LossCase):
    op_name = "bce_with_logits"
    torch_name = "binary_cross_entropy_with_logits"


class TestCrossEntropy(LossCase):
    op_name = "cross_entropy"
    variants = tuple(
        {"reduction_name": name, "shape": shape}
        for name in ("mean", "sum", "none")
        for shape in [(6, 10), (3, 19, 2, 5)]
    )

    def inputs(self, rng, dtype):
        x = rng.uniform(-3, 3, self.shape).astype(dtype)
        return x, rng.integers(0, self.shape[1], (self.shape[0], *self.shape[2:]), dtype="int32")

    def large_inputs(self, rng, dtype):
        return rng.uniform(-3, 3, (1003, 37)).astype(dtype), rng.integers(0, 37, 1003)

    def empty_inputs(self, dtype):
        return np.zeros((0, 3), dtype), np.zeros(0, "int64")

    def torch_op(self, torch, x, target):
        return torch.nn.functional.cross_entropy(x, target.long(), reduction=self.reduction_name)


class TestCrossEntropyOfProbabilities(TestCrossEntropy):
    def inputs(self, rng, dtype):
        return rng.uniform(-3, 3, self.shape).astype(dtype), rng.uniform(0, 1, self.shape).astype(dtype)

    def large_inputs(self, rng, dtype):
        return rng.uniform(-3, 3, (1003, 37)).astype(dtype), rng.uniform(0, 1, (1003, 37)).astype(dtype)

    def empty_inputs(self, dtype):
        return np.zeros((0, 3), dtype), np.zeros((0, 3), dtype)

    def torch_op(self, torch, x, target):
        return torch.nn.functional.cross_entropy(x, target, reduction=self.reduction_name)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "int32", "int64", "uint64"])
def test_class_indices_of_any_integer_dtype(kind):
    x = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    want = ops.cross_entropy(x, np.array([1, 0])).item()
    assert ops.cross_entropy(x, np.array([1, 0], kind)).item() == want
    assert ops.cross_entropy(rv.tensor(x), rv.tensor(np.array([1, 0], kind))).item() == want


def test_extremes_stay_finite(isa):
    """Certain and wrong costs 100; logits of 10000 cost what they should; the gradients are finite."""
    x = rv.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    loss = ops.bce(x, np.array([1.0, 0.0, 0.0, 1.0], np.float32), "none")
    np.testing.assert_array_equal(loss.detach().numpy(), [100, 100, 0, 0])
    loss.backward(np.ones(4, np.float32))
    assert np.isfinite(x.grad.numpy()).all()
    logits = np.array([1e4, -1e4], np.float32)
    targets = np.array([0.0, 1.0], np.float32)
    np.testing.assert_array_equal(ops.bce_with_logits(logits, targets, "none").numpy(), [1e4, 1e4])
    rows = np.array([[1e4, -1e4, 0.0]], np.float32)
    assert ops.cross_entropy(rows, np.array([1])).item() == 2e4


def test_targets_take_the_dtype_of_x():
    x = rv.tensor([1.0, 2.0])
    assert ops.mse(x, np.array([1.0, 3.0])).dtype == np.float32
    assert ops.mse(x, np.array([1, 3])).item() == 0.5
    with pytest.raises(TypeError, match=r"\[mse\] got x of dtype float32 and target of dtype float64"):
        ops.mse(x, rv.tensor([1.0, 3.0], dtype=rv.float64))


@pytest.mark.parametrize("name", ["mse", "bce", "bce_with_logits"])
def test_shapes_are_not_broadcast(name):
    message = rf"\[{name}\] got x of shape \(3,\) and target of shape \(3, 1\); expected equal shapes"
    with pytest.raises(ValueError, match=message):
        getattr(ops, name)(np.ones(3, np.float32), np.ones((3, 1), np.float32))


def test_errors():
    x = np.zeros((4, 3), np.float32)
    with pytest.raises(
        ValueError,
        match=r"\[cross_entropy\] got class index 3 for x of shape \(4, 3\); expected 0 <= index < 3",
    ):
        ops.cross_entropy(x, np.array([0, 1, 3, 2]))
    with pytest.raises(ValueError, match=r"\[cross_entropy\] got class index -100 for x"):
        ops.cross_entropy(x, np.array([0, -100, 1, 2]))
    with pytest.raises(
        ValueError, match=r"got class indices of shape \(4, 1\) for x of shape \(4, 3\); expected \(4,\)"
    ):
        ops.cross_entropy(x, np.zeros((4, 1), int))
    with pytest.raises(ValueError, match=r"\[cross_entropy\] got x of shape \(3,\); expected \(N, C\)"):
        ops.cross_entropy(x[0], np.array(1))
    with pytest.raises(TypeError, match=r"\[cross_entropy\] got target of dtype bool; expected an integer"):
        ops.cross_entropy(x, np.zeros(4, bool))
    with pytest.raises(ValueError, match=r"\[mse\] got reduction 'avg'; expected 'mean', 'sum' or 'none'"):
        ops.mse(x, x, "avg")
    with pytest.raises(ValueError, match=r"\[bce\] got x with the value 1.5; expected values from 0 to 1"):
        ops.bce(x + np.float32(1.5), x)
