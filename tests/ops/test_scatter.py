"""scatter, scatter_add and index_add: values put at places, forward and backward, against the references."""

import numpy as np
import ranvier as rv
from ranvier import ops
from reference import index as reference
from support.draws import any_axis
from support.op_case import OpCase


class TestScatter(OpCase):
    op_name = ("scatter", "scatter_add")
    variants = tuple(
        {
            "name": name,
            "axis": axis,
            "index": np.random.default_rng(3).integers(0, 3, index),
            "shape": ((3, 4, 5), source),
        }
        for name in op_name
        for axis, index, source in (
            (0, (3, 4, 5), (3, 4, 5)),
            (1, (3, 7, 5), (3, 7, 5)),
            (-1, (3, 4, 6), (3, 4, 6)),
            (1, (2, 2, 3), (2, 3, 4)),
            (0, (0, 4, 5), (1, 4, 5)),
        )
    )

    def draw(self, rng, dtype):
        shape = rng.integers(1, 7, rng.integers(1, 4))
        axis = any_axis(rng, len(shape))
        sizes = rng.integers(1, shape + 1)
        name = self.drawn_variant(rng)["name"]
        if name == "scatter":  # PyTorch's gradient is wrong where two values go to one place
            index = np.argsort(rng.random(shape), axis)[tuple(map(slice, sizes))]
        else:
            sizes[axis] = rng.integers(0, 12)
            index = rng.integers(0, shape[axis], sizes)
        # PyTorch has the gradient of src only where it is as large as the index
        arrays = self.sized(rng, dtype, (tuple(shape), tuple(sizes)))
        return {"name": name, "axis": axis, "index": index}, arrays

    def reduction(self, x, src):
        return src.size + 1

    def op(self, x, src):
        return getattr(ops, self.name)(x, self.axis, rv.tensor(self.index), src)

    def reference(self, x, src):
        return getattr(reference, self.name)(x, self.index, src, self.axis % x.ndim)

    def reference_backward(self, dy, x, src):
        return getattr(reference, f"{self.name}_backward")(dy, x, self.index, src, self.axis % x.ndim)

    def torch_op(self, torch, x, src):
        src = src[tuple(map(slice, self.index.shape))]  # PyTorch refuses the gradient of a larger one
        return getattr(torch, self.name)(x, self.axis, torch.tensor(self.index), src)

    def test_reference_equals_torch(self, rng):
        if self.name == "scatter":  # each place at most once: see draw
            places = np.argsort(rng.random((3, 4, 5)), self.axis)
            self.index = places[tuple(map(slice, self.index.shape))]
        OpCase.test_reference_equals_torch.__wrapped__(self, rng)


class TestIndexAdd(OpCase):
    op_name = "index_add"
    variants = (
        {"axis": 0, "index": np.array([2, 0, 2, 1]), "alpha": 1, "shape": (3, 4)},
        {"axis": -1, "index": np.array([1, 1, 3]), "alpha": -0.5, "shape": (3, 4)},
        {"axis": 1, "index": np.zeros(0, int), "alpha": 1, "shape": (2, 3, 2)},
    )

    def inputs(self, rng, dtype, shape=None, index=None, axis=None):
        source = list(self.shape)
        source[self.axis] = self.index.size
        return tuple(rng.standard_normal(s).astype(dtype) for s in (self.shape, source))

    def draw(self, rng, dtype):
        self.shape = tuple(rng.integers(1, 7, rng.integers(1, 4)))
        self.axis = int(rng.integers(-len(self.shape), len(self.shape)))
        self.index = rng.integers(0, self.shape[self.axis], rng.integers(0, 9))
        settings = {"axis": self.axis, "index": self.index, "alpha": float(rng.integers(-2, 3))}
        return settings, self.inputs(rng, dtype)

    def reduction(self, x, source):
        return source.size + 1

    def op(self, x, source):
        return ops.index_add(x, self.axis, rv.tensor(self.index), source, alpha=self.alpha)

    def reference(self, x, source):
        return reference.index_add(x, self.index, source, self.axis, self.alpha)

    def reference_backward(self, dy, x, source):
        return reference.index_add_backward(dy, x, self.index, source, self.axis, self.alpha)

    def torch_op(self, torch, x, source):
        return torch.index_add(x, self.axis, torch.tensor(self.index), source, alpha=self.alpha)


def test_a_value_that_was_covered_has_no_gradient():
    src = rv.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x = rv.zeros(2, requires_grad=True)
    y = rv.scatter(x, 0, [1, 1, 1], src)
    y.sum().backward()
    assert (y.tolist(), src.grad.tolist(), x.grad.tolist()) == ([0, 3], [0, 0, 1], [1, 0])


def test_numbers_and_places():
    x = rv.zeros(2, 3)
    x.scatter_(1, rv.tensor([[2], [0]]), 5.0)
    assert x.tolist() == [[0, 0, 5], [5, 0, 0]]
    x.scatter_add_(1, rv.tensor([[2, 2], [0, 1]]), rv.ones(2, 2)).index_add_(0, rv.tensor([0]), rv.ones(1, 3))
    assert x.tolist() == [[1, 1, 8], [6, 1, 0]]
    counts = rv.zeros(3, dtype=rv.int64).scatter_add(0, rv.tensor([0, 2, 2]), rv.ones(3, dtype=rv.int64))
    assert counts.tolist() == [1, 0, 2]
    w = rv.ones(3, requires_grad=True)
    y = (w * 2).scatter_(0, rv.tensor([1]), 7.0)
    y.sum().backward()
    assert (y.tolist(), w.grad.tolist()) == ([2, 7, 2], [2, 0, 2])
