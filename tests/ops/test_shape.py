"""Views, picks and joins: every element in its place, and every gradient back to it."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from reference import shape as reference
from support.draws import any_axis, any_shape
from support.move_case import MoveCase, case
from support.op_case import OpCase
from support.refused import refused


def drawn_move(rng):
    """A move of a random array: its name, its arguments, and the same in NumPy."""
    shape = any_shape(rng, least=1, most=4)
    ndim, axis, other = len(shape), any_axis(rng, len(shape)), any_axis(rng, len(shape))
    order = tuple(rng.permutation(ndim).tolist())
    size = int(np.prod(shape))
    factor = int(rng.choice([n for n in range(1, size + 1) if size % n == 0]))
    start, end = sorted(rng.integers(0, ndim, 2).tolist())
    merged = (*shape[:start], -1, *shape[end + 1 :])
    wide = (*rng.integers(1, 4, int(rng.integers(3))).tolist(), *(3 if n == 1 else n for n in shape))
    place = int(rng.integers(-ndim - 1, ndim + 1))
    axes = tuple(rng.permutation(ndim)[: int(rng.integers(1, ndim + 1))].tolist())
    moves = [
        case("reshape", ((factor, -1),), lambda x: x.reshape(factor, -1), shape),
        case("flatten", (start, end), lambda x: x.reshape(merged), shape),
        case("ravel", (), np.ravel, shape),
        case("unflatten", (axis, (-1, 1)), lambda x: np.expand_dims(x, axis % ndim + 1), shape),
        case("permute", order, lambda x: x.transpose(order), shape),
        case("transpose", (axis, other), lambda x: x.swapaxes(axis, other), shape),
        case("swapaxes", (axis, other), lambda x: x.swapaxes(axis, other), shape),
        case("movedim", (axis, other), lambda x: np.moveaxis(x, axis, other), shape),
        case("squeeze", (), np.squeeze, shape),
        case("unsqueeze", (place,), lambda x: np.expand_dims(x, place), shape),
        case("expand", wide, lambda x: np.broadcast_to(x, wide), shape),
        case("broadcast_to", (wide,), lambda x: np.broadcast_to(x, wide), shape),
        case("flip", (axes,), lambda x: np.flip(x, axes), shape),
    ]
    return moves[int(rng.integers(len(moves)))]


class TestMoves(MoveCase):
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
        case("squeeze", (0, -1), lambda x: x[0, :, 0], (1, 3, 1)),
        case("unsqueeze", (-1,), lambda x: x[..., None]),
        case("unsqueeze", (1,), lambda x: x[:, None]),
        case("expand", (3, -1, 4), lambda x: np.broadcast_to(x, (3, 2, 4)), (2, 1)),
        case("broadcast_to", ((2, 3, 5),), lambda x: np.broadcast_to(x, (2, 3, 5)), (3, 1)),
        case("flip", ((0, 2),), lambda x: np.flip(x, (0, 2))),
    )

    def drawn_move(self, rng):
        return drawn_move(rng)


class TestParts(OpCase):
    op_name = ("split", "chunk")
    arguments = ("size", "axis")
    axis = 1
    variants = (
        {"name": "split", "size": 2, "ends": (2, 4)},
        {"name": "split", "size": (1, 4), "ends": (1,)},
        {"name": "chunk", "size": 3, "ends": (2, 4)},
    )
    shape = (3, 5, 2)

    def draw(self, rng, dtype):
        n, size = int(rng.integers(1, 18)), int(rng.integers(1, 9))
        kind = int(rng.integers(3))
        if kind == 0:
            size = np.bincount(rng.integers(0, size, n), minlength=size).tolist()
            name, ends = "split", tuple(np.cumsum(size)[:-1].tolist())
        else:
            step = size if kind == 1 else -(-n // size)
            name, ends = ("split", "chunk")[kind - 1], tuple(range(step, n, step))
        return {"name": name, "size": size, "ends": ends}, self.sized(rng, dtype, (3, n, 2))

    def reference(self, x):
        return tuple(np.split(x, self.ends, 1))

    def reference_backward(self, dy, x):
        return (np.concatenate(dy if isinstance(dy, tuple) else (dy,), 1),)


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
        return self.sized(rng, dtype, shapes)

    def draw(self, rng, dtype):
        name = str(rng.choice(self.op_name))
        shape = any_shape(rng, least=1, most=3)
        axis = any_axis(rng, len(shape))
        shapes = [list(shape) for _ in range(int(rng.integers(1, 5)))]
        if name != "stack":
            for one in shapes:
                one[axis] = int(rng.integers(0, 20))
        return {"name": name, "axis": axis}, self.sized(rng, dtype, shapes)

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
    refused(RuntimeError, "modified by an inplace operation", y.sum().backward)


def test_flatten_of_channels_last_is_in_logical_order():
    x = rv.from_numpy(np.arange(24.0).reshape(1, 3, 4, 2).transpose(0, 3, 1, 2))
    assert x.flatten(1).tolist() == [x.numpy().ravel().tolist()]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
def test_other_shapes_of_channels_last_are_views_where_memory_allows(dtype):
    same = [lambda x: x.squeeze(), lambda x: x.view_as(x), lambda x: x.reshape(2, 3, 4, -1)]
    other = [lambda x: x.unsqueeze(2), lambda x: x.flatten(2), lambda x: x.reshape(-1, 1, 3, 2, 2, 5)]
    for change in [*same, *other, lambda x: x.unflatten(0, (1, 2))]:
        x = rv.zeros(2, 4, 5, 3, dtype=dtype).permute(0, 3, 1, 2)
        change(x).add_(1)
        assert (x.numpy() == 1).all()
    for change in (lambda x: x.flatten(1), lambda x: x.reshape(3, 40), lambda x: x.reshape(2, 5, 12)):
        change(x).zero_()
        assert (x.numpy() == 1).all()
        assert change(x).shape == np.reshape(x.numpy(), change(x).shape).shape


def test_wrong_calls():
    x = rv.zeros(2, 3)
    refused(ValueError, "[reshape]", x.reshape, 4, 2)
    refused(ValueError, "[permute] got dims (0, 0)", x.permute, 0, 0)
    refused(ValueError, "[squeeze] got dims (0, -2)", x.squeeze, (0, -2))
    refused(IndexError, "[transpose] got dim 2 for 2 dimensions", x.transpose, 0, 2)
    refused(ValueError, "[expand]", x.expand, 4, 3)
    refused(ValueError, "[split] got sizes (1, 3)", x.split, (1, 3))
    refused(ValueError, "[chunk] got 0 chunks", x.chunk, 0)
    with pytest.raises(IndexError):
        x[5]
    with pytest.raises(ValueError, match=r"\[cat\]|\[stack\]"):
        rv.cat([x, rv.zeros(3, 4)])


def test_ravel_of_a_vector_is_a_view_of_it():
    x = rv.ones(3, requires_grad=True)
    assert x.ravel() is not x
    with rv.no_grad():
        assert not x.ravel().requires_grad


def test_results_are_in_c_order_where_the_order_is_open():
    """Dimensions of size 1, or repeated: so a view of the result is one, as in PyTorch."""
    x = rv.ones(2, 1, 1, 3)
    assert rv.cat([x, x], 1).is_contiguous()
    assert rv.stack([rv.ones(2, 3, 1)] * 2, -1).is_contiguous()
    assert rv.arange(3.0).expand(2, 3).relu().is_contiguous()


def test_parts_by_tensors():
    x = rv.arange(5)
    assert [y.tolist() for y in x.split(rv.tensor(3))] == [[0, 1, 2], [3, 4]]
    assert [y.tolist() for y in x.chunk(rv.tensor(2))] == [[0, 1, 2], [3, 4]]
    refused(TypeError, "[tensor_split] got indices 1.5; expected a whole", rv.tensor_split, x, [1.5, 3])
    assert [part.shape for part in rv.tensor_split(x, [])] == [x.shape]
    for named in ({"indices": [1]}, {"sections": 2}, {"indices_or_sections": 2}):
        assert [y.tolist() for y in rv.tensor_split(rv.arange(2), **named)] == [[0], [1]]
    refused(TypeError, "[tensor_split] got 2 arguments; expected one", rv.tensor_split, x, 2, indices=[1])
