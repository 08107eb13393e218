"""Reductions, forward and backward, against the references."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from ranvier.reference import reduce as reference
from support.draws import any_axes, any_axis, any_shape
from support.op_case import OpCase

AXES = tuple(
    {"axis": axis, "keepdims": keepdims}
    for axis, keepdims in (
        (None, False),
        (0, False),
        (1, True),
        (-1, False),
        ((0, 2), False),
        ((0, 2), True),
        ((1, 2, 3), False),
        ((0, 1, 2, 3), True),
    )
)


class ReduceCase(OpCase):
    """y = f(x, axis, keepdims)"""

    variants = AXES

    def inputs(self, rng, dtype):
        return (rng.standard_normal((3, 5, 4, 17)).astype(dtype),)

    def large_inputs(self, rng, dtype):
        return (rng.standard_normal((3, 41, 7, 503)).astype(dtype),)

    def draw(self, rng, dtype):
        x = rng.standard_normal(any_shape(rng)).astype(dtype)
        return {"axis": any_axes(rng, x.ndim), "keepdims": bool(rng.integers(2))}, (x,)

    def reduction(self, x):
        return x.size

    def op(self, x):
        return getattr(ops, self.op_name)(x, self.axis, keepdim=self.keepdims)

    def reference(self, x):
        return getattr(reference, self.op_name)(x, self.axis, self.keepdims)

    def reference_backward(self, dy, x):
        return (getattr(reference, f"{self.op_name}_backward")(dy, x, self.axis, self.keepdims),)

    def torch_op(self, torch, x):
        axes = tuple(range(x.ndim)) if self.axis is None else self.axis
        return getattr(torch, self.op_name)(x, axes, keepdim=self.keepdims)


class TestSum(ReduceCase):
    op_name = "sum"

    def empty_inputs(self, dtype):
        return (np.zeros((3, 0, 4, 17), dtype),)


class TestMean(ReduceCase):
    op_name = "mean"


class TestVar(ReduceCase):
    op_name = "var"

    def draw(self, rng, dtype):
        """At least two elements along each axis: one has no variance."""
        shape = tuple(n + 1 for n in any_shape(rng, least=1, most=3))
        x = rng.standard_normal(shape).astype(dtype)
        return {"axis": any_axes(rng, x.ndim), "keepdims": bool(rng.integers(2))}, (x,)


class TestStd(TestVar):
    op_name = "std"


class TestAmax(ReduceCase):
    op_name = "amax"

    def inputs(self, rng, dtype):
        return (rng.permutation(3 * 5 * 4 * 17).reshape(3, 5, 4, 17).astype(dtype) / 64,)  # no ties

    def draw(self, rng, dtype):
        settings, (x,) = super().draw(rng, dtype)
        return settings, (rng.permutation(x.size).reshape(x.shape).astype(dtype) / 64,)


class TestAmin(TestAmax):
    op_name = "amin"


class TestExtremesAlong(TestAmax):
    op_name = ("max", "min")
    variants = tuple(
        {"name": n, "axis": a, "keepdims": k} for n in op_name for a in (0, -1) for k in (False, True)
    )

    def draw(self, rng, dtype):
        shape = any_shape(rng, least=1)
        x = rng.permutation(int(np.prod(shape))).reshape(shape).astype(dtype) / 64
        settings = {"axis": any_axis(rng, x.ndim), "keepdims": bool(rng.integers(2))}
        return {**self.drawn_variant(rng), **settings}, (x,)

    def op(self, x):
        return tuple(getattr(ops, self.name)(x, self.axis, self.keepdims))

    def reference(self, x):
        return tuple(getattr(reference, p + self.name)(x, self.axis, self.keepdims) for p in ("a", "arg"))

    def reference_backward(self, dy, x):
        return (getattr(reference, f"a{self.name}_backward")(dy, x, self.axis, self.keepdims),)

    def torch_op(self, torch, x):
        return tuple(getattr(torch, self.name)(x, self.axis, self.keepdims))


class TestArg(OpCase):
    op_name = ("argmax", "argmin")
    variants = tuple({"name": n, "axis": a, "keepdims": False} for n in op_name for a in (None, 0, 1, -1))
    differentiable = False

    def inputs(self, rng, dtype):
        return (rng.integers(0, 9, (3, 5, 4, 17)).astype(dtype),)  # with ties: the first counts

    def draw(self, rng, dtype):
        x = rng.integers(0, 9, any_shape(rng, least=1)).astype(dtype)
        axis = None if rng.random() < 0.3 else any_axis(rng, x.ndim)
        return {**self.drawn_variant(rng), "axis": axis, "keepdims": bool(rng.integers(2))}, (x,)

    def op(self, x):
        return getattr(ops, self.name)(x, self.axis, self.keepdims)

    def reference(self, x):
        return getattr(reference, self.name)(x, self.axis, self.keepdims)

    def torch_op(self, torch, x):
        """NumPy's argmax of equal ones, the first: PyTorch promises none, so ties are broken."""
        x = x.double() - torch.arange(x.numel()).reshape(x.shape) / (2.0 * x.numel()) * self._sign
        return getattr(torch, self.name)(x, self.axis, self.keepdims)

    @property
    def _sign(self):
        return 1 if self.name == "argmax" else -1


class TestAllAny(OpCase):
    op_name = ("all", "any")
    variants = tuple({"name": n, "axis": a} for n in op_name for a in (None, 0, (0, 1)))
    differentiable = False

    def inputs(self, rng, dtype):
        return ((rng.random((2, 3, 5)) > 0.3).astype(dtype),)

    def draw(self, rng, dtype):
        x = (rng.random(any_shape(rng)) > rng.random()).astype(dtype)
        return {**self.drawn_variant(rng), "axis": any_axes(rng, x.ndim)}, (x,)

    def op(self, x):
        return getattr(ops, self.name)(x, self.axis)

    def reference(self, x):
        return getattr(np, self.name)(x, axis=self.axis)

    def torch_op(self, torch, x):
        axes = tuple(range(x.ndim)) if self.axis is None else self.axis
        return getattr(torch, self.name)(x.bool(), axes)


def test_extremes_of_everything_and_of_two_tensors():
    x = rv.tensor([[1.0, 7.0], [5.0, 3.0]])
    assert x.max().item() == 7
    assert x.min().item() == 1
    values, indices = x.max(dim=1)
    assert (values.tolist(), indices.tolist()) == ([7, 5], [1, 0])
    assert ops.max(x, rv.full((2, 2), 4.0)).tolist() == [[4, 7], [5, 4]]


def test_nan_wins():
    x = rv.tensor([1.0, float("nan"), 3.0])
    assert rv.isnan(x.max()).item()
    assert rv.isnan(x.min()).item()
    assert x.argmax().item() == 1


def test_integers_and_bools():
    x = rv.tensor([[1, 2], [3, 4]])
    assert x.sum().item() == 10
    assert x.sum().dtype == np.int64
    assert (x > 1).sum().item() == 3
    assert x.max(dim=0).values.tolist() == [3, 4]


def test_equal_extremes_share_the_gradient():
    x = rv.tensor([2.0, 1.0, 2.0], requires_grad=True)
    x.max().backward()
    assert x.grad.tolist() == [0.5, 0, 0.5]


def test_wrong_axes():
    with pytest.raises((ValueError, IndexError), match=r"\[sum\] got .*2"):
        rv.ones(2, 2).sum(2)
    with pytest.raises(ValueError, match="empty along the axis"):
        rv.zeros(0, 3).max(dim=0)
