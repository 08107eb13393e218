"""Views, picks and joins: every element in its place, and every gradient back to it."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from ranvier.reference import shape as reference
from support.op_case import OpCase

X = (2, 3, 4, 5)


def case(name, arguments, move, shape=X):
    return {"name": name, "arguments": arguments, "move": move, "shape": shape}


class TestMoves(OpCase):
    op_name = (
        "reshape", "flatten", "ravel", "unflatten", "permute", "transpose", "swapaxes", "movedim", "t",
        "squeeze", "unsqueeze", "expand", "broadcast_to", "flip",
    )  # fmt: skip
    variants = (
        case("reshape", ((6, 20),), lambda x: x.reshape(6, 20)),
        case("reshape", (-1, 5), lambda x: x.reshape(-1, 5)),
        case("reshape", ((),), lambda x: x.reshape(()), (1, 1)),
        case("flatten", (), np.ravel),
        case("flatten", (1,), lambda x: x.reshape(2, 60)),
        case("flatten", (1, 2), lambda x: x.reshape(2, 12, 5)),
        case("ravel", (), np.ravel),
        case("unflatten", (2, (2, -1)), lambda x: x.reshape(2, 3, 2, 2, 5)),
        case("permute", (0, 2, 3, 1), lambda x: x.transpose(0, 2, 3, 1)),
        case("permute", ((3, -3, 0, 2),), lambda x: x.transpose(3, 1, 0, 2)),
        case("transpose", (1, -1), lambda x: x.swapaxes(1, -1)),
        case("swapaxes", (0, 1), lambda x: x.swapaxes(0, 1)),
        case("movedim", (0, 2), lambda x: np.moveaxis(x, 0, 2)),
        case("t", (), np.transpose, (3, 4)),
        case("squeeze", (), np.squeeze, (1, 3, 1)),
        case("squeeze", (0,), lambda x: x[0], (1, 3, 1)),
        case("unsqueeze", (-1,), lambda x: x[..., None]),
        case("unsqueeze", (1,), lambda x: x[:, None]),
        case("expand", (3, -1, 4), lambda x: np.broadcast_to(x, (3, 2, 4)), (2, 1)),
        case("broadcast_to", ((2, 3, 5),), lambda x: np.broadcast_to(x, (2, 3, 5)), (3, 1)),
        case("flip", ((0, 2),), lambda x: np.flip(x, (0, 2))),
    )

    def inputs(self, rng, dtype):
        return (rng.standard_normal(self.shape).astype(dtype),)

    def reduction(self, x):
        return 8  # repetitions that expand sums over

    def op(self, x):
        return getattr(ops, self.name)(x, *self.arguments)

    def reference(self, x):
        return self.move(x)

    def reference_backward(self, dy, x):
        return (reference.moved_backward(dy, x, self.move),)


class TestParts(OpCase):
    op_name = ("split", "chunk")
    variants = (
        {"name": "split", "arguments": (2, 1), "ends": (2, 4)},
        {"name": "split", "arguments": ((1, 4), 1), "ends": (1,)},
        {"name": "chunk", "arguments": (3, 1), "ends": (2, 4)},
    )

    def inputs(self, rng, dtype):
        return (rng.standard_normal((3, 5, 2)).astype(dtype),)

    def op(self, x):
        return getattr(ops, self.name)(x, *self.arguments)

    def reference(self, x):
        return tuple(np.split(x, self.ends, 1))

    def reference_backward(self, dy, x):
        return (np.concatenate(dy, 1),)


class TestJoins(OpCase):
    op_name = ("cat", "concatenate", "stack")
    variants = (
        {"name": "cat", "axis": 0, "lengths": (2, 1, 4)},
        {"name": "cat", "axis": -1, "lengths": (3, 17)},
        {"name": "concatenate", "axis": 1, "lengths": (1, 0, 2)},
        {"name": "stack", "axis": 0, "lengths": (3, 3)},
        {"name": "stack", "axis": -1, "lengths": (3, 3, 3)},
    )

    def inputs(self, rng, dtype):
        shapes = [[3, 3, 3] for _ in self.lengths]
        for shape, length in zip(shapes, self.lengths, strict=True):
            shape[min(self.axis, 2)] = length
        return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)

    def op(self, *xs):
        return getattr(ops, self.name)(xs, self.axis)

    def reference(self, *xs):
        return np.stack(xs, self.axis) if self.name == "stack" else reference.cat(xs, self.axis)

    def reference_backward(self, dy, *xs):
        if self.name == "stack":
            return tuple(np.moveaxis(dy, self.axis, 0))
        return tuple(reference.cat_backward(dy, xs, self.axis))


def test_methods():
    x = rv.arange(6).reshape(2, 3)
    assert x.view(3, 2).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert x.T.shape == x.t().shape == (3, 2)
    assert x.view(-1).shape == (6,)
    assert x.expand(4, 2, 3).shape == (4, 2, 3)
    assert [row.tolist() for row in x] == [[0, 1, 2], [3, 4, 5]]
    _, b = x
    assert b[2].item() == 5


def test_views_see_changes():
    x = rv.zeros(2, 3)
    x[0].fill_(1)
    x.t()[2, 1] = 5
    x.view(-1)[3] += 2
    assert x.tolist() == [[1, 1, 1], [2, 0, 5]]
    w = rv.ones(2, 2, requires_grad=True)
    y = (w * 1)[0] * x[0, :2]
    x.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_flatten_of_channels_last_is_in_logical_order():
    x = rv.from_numpy(np.arange(24.0).reshape(1, 3, 4, 2).transpose(0, 3, 1, 2))
    assert x.flatten(1).tolist() == [x.numpy().ravel().tolist()]


def test_wrong_calls():
    x = rv.zeros(2, 3)
    with pytest.raises(ValueError, match=r"\[reshape\]"):
        x.reshape(4, 2)
    with pytest.raises(ValueError, match=r"\[permute\] got dims \(0, 0\)"):
        x.permute(0, 0)
    with pytest.raises(IndexError, match=r"\[transpose\] got dim 2 for 2 dimensions"):
        x.transpose(0, 2)
    with pytest.raises(ValueError, match=r"\[expand\]"):
        x.expand(4, 3)
    with pytest.raises(ValueError, match=r"\[split\] got sizes \(1, 3\)"):
        x.split((1, 3))
    with pytest.raises(ValueError, match=r"\[chunk\] got 0 chunks"):
        x.chunk(0)
    with pytest.raises(IndexError):
        x[5]
    with pytest.raises(ValueError, match=r"\[cat\]|\[stack\]"):
        rv.cat([x, rv.zeros(3, 4)])
