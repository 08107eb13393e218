"""Elements repeated, rolled, and taken out by slices and diagonals: each in its place, each gradient back."""

import numpy as np
import ranvier as rv
from ranvier import ops
from support.draws import any_axis, any_shape
from support.move_case import MoveCase, case
from support.op_case import OpCase
from support.refused import refused

X = (2, 3, 4)


class TestMoves(MoveCase):
    op_name = ("repeat", "tile", "repeat_interleave", "roll", "select", "narrow", "diagonal")
    variants = (
        case("repeat", (1, 2, 3), lambda x: np.tile(x, (1, 2, 3)), X),
        case("repeat", ((2, 1, 1, 2),), lambda x: np.tile(x, (2, 1, 1, 2)), X),
        case("repeat", (0, 1, 1), lambda x: np.tile(x, (0, 1, 1)), X),
        case("tile", ((2,),), lambda x: np.tile(x, 2), X),
        case("tile", (2, 1, 1, 2), lambda x: np.tile(x, (2, 1, 1, 2)), X),
        case("repeat_interleave", (2,), lambda x: np.repeat(x, 2), X),
        case("repeat_interleave", (3, -2), lambda x: np.repeat(x, 3, -2), X),
        case("repeat_interleave", ([2, 0, 1], 1), lambda x: np.repeat(x, [2, 0, 1], 1), X),
        case("roll", (5,), lambda x: np.roll(x, 5), X),
        case("roll", (-1, 1), lambda x: np.roll(x, -1, 1), X),
        case("roll", ((1, -2), (0, -1)), lambda x: np.roll(x, (1, -2), (0, -1)), X),
        case("roll", (4, 2), lambda x: x.copy(), X),
        case("select", (1, -2), lambda x: x[:, 1], X),
        case("narrow", (2, 1, 2), lambda x: x[..., 1:3], X),
        case("narrow", (-1, -2, 2), lambda x: x[..., 2:], X),
        case("diagonal", (), np.diagonal, X),
        case("diagonal", (1, 0, 2), lambda x: np.diagonal(x, 1, 0, 2), X),
        case("diagonal", (-1, -1, 0), lambda x: np.diagonal(x, -1, -1, 0), X),
        case("diagonal", (9,), lambda x: np.diagonal(x, 9), X),
    )

    def drawn_move(self, rng):
        shape = any_shape(rng, least=1)
        axis = int(rng.integers(len(shape)))
        n = shape[axis]
        kind = rng.integers(4)
        if kind == 0:
            times = tuple(int(i) for i in rng.integers(1, 4, len(shape)))
            return case("repeat", times, lambda x: np.tile(x, times), shape)
        if kind == 1:
            times = rng.integers(0, 4, n).tolist()
            return case("repeat_interleave", (times, axis), lambda x: np.repeat(x, times, axis), shape)
        if kind == 2:
            step = int(rng.integers(-9, 10))
            return case("roll", (step, axis), lambda x: np.roll(x, step, axis), shape)
        start = int(rng.integers(n))
        length = int(rng.integers(n - start + 1))
        part = (*(slice(None),) * axis, slice(start, start + length))
        return case("narrow", (axis, start, length), lambda x: x[part], shape)


class TestUnbind(OpCase):
    op_name = "unbind"
    arguments = ("axis",)
    variants = ({"axis": 0}, {"axis": -1})
    shape = X

    def draw(self, rng, dtype):
        shape = any_shape(rng, least=1, most=4)
        return {"axis": any_axis(rng, len(shape))}, self.sized(rng, dtype, shape)

    def reference(self, x):
        return tuple(np.moveaxis(x, self.axis, 0))

    def reference_backward(self, dy, x):
        return (np.stack(dy if isinstance(dy, tuple) else (dy,), self.axis),)


class TestMeshgrid(OpCase):
    op_name = "meshgrid"
    variants = ({"indexing": "ij"}, {"indexing": "xy"})
    shape = (2,), (3,), (4,)

    def drawn_shape(self, rng):
        return [(n,) for n in rng.integers(1, 9, 3)]

    def reduction(self, *arrays):
        return 64

    def op(self, *tensors):
        return ops.meshgrid(*tensors, indexing=self.indexing)

    def reference(self, *arrays):
        return tuple(np.meshgrid(*arrays, indexing=self.indexing))

    def reference_backward(self, dy, *arrays):
        order = (1, 0, 2) if self.indexing == "xy" else (0, 1, 2)
        return tuple(d.sum(tuple(a for a in range(3) if a != order.index(i))) for i, d in enumerate(dy))


class TestTrace(OpCase):
    op_name = "trace"
    module = np
    shape = (5, 7)

    def drawn_shape(self, rng):
        return any_shape(rng, least=2, most=2)

    def reduction(self, x):
        return min(x.shape)

    def reference_backward(self, dy, x):
        return (dy * np.eye(*x.shape),)


def test_views_see_changes():
    x = rv.zeros(2, 2)
    x.diagonal().fill_(1)
    x.select(0, 1)[0] = 5
    x.narrow(1, 1, 1).add_(1)
    assert x.tolist() == [[1, 1], [5, 2]]


def test_parts_of_nothing():
    x = rv.zeros(0, 3)
    assert [part.shape for part in x.chunk(2)] == [(0, 3), (0, 3)]
    assert [part.shape for part in x.split(2)] == [(0, 3)]
    assert x.unbind(0) == ()
    assert x.roll(1, 0).shape == x.repeat(2, 1).shape == (0, 3)


def test_wrong_calls():
    x = rv.zeros(2, 3)
    refused(ValueError, "[repeat] got sizes (2,) for x of shape (2, 3)", x.repeat, 2)
    refused(ValueError, "[repeat] got sizes (-1, 1)", x.repeat, -1, 1)
    refused(ValueError, "[tile] got dims (-1,)", x.tile, -1)
    refused(ValueError, "[repeat_interleave] got repeats [1, 2]", x.repeat_interleave, [1, 2], 1)
    refused(ValueError, "[roll] got 2 shifts and 1 dims; expected as many", x.roll, (1, 2), 0)
    refused(ValueError, "[roll] got 2 shifts without dims; expected one", x.roll, (1, 2))
    refused(IndexError, "[select] got index 2 for a dimension of 2; expected -2 to 1", x.select, 0, 2)
    refused(TypeError, "[select] got index 1.5; expected a whole number", x.select, 0, 1.5)
    refused(ValueError, "[narrow] got start 2 and length 2 for a dimension of 3", x.narrow, 1, 2, 2)
    refused(ValueError, "[diagonal] got dimension 1 twice", x.diagonal, 0, 1, -1)
    refused(ValueError, "[trace] got x of shape (3,); expected 2 dimensions", x[0].trace)
    refused(ValueError, "[meshgrid] got shapes (2, 3); expected vectors", rv.meshgrid, x)
    refused(ValueError, "[meshgrid] got indexing 'a'", rv.meshgrid, x[0], indexing="a")


def test_bytes_are_no_sizes() -> None:
    """Their items are numbers: b"mean" asked for 109 x 101 x 97 x 110 copies."""
    refused(TypeError, "[repeat] got b'mean'; expected whole numbers", rv.repeat, rv.ones(2), b"mean")
