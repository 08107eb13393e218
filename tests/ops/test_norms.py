"""norm, logsumexp, prod, var_mean and their kin, forward and backward, against the references."""

import math

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from ranvier.autograd import gradcheck
from reference import reduce as reference
from support.draws import any_axes, any_axis, any_shape
from support.op_case import OpCase
from support.refused import refusals, refused

AXES = ((None, False), (0, False), (1, True), (-1, False), ((0, 2), False), ((1, 3), True))


class AxesCase(OpCase):
    module = reference
    arguments = ("axis", "keepdims")
    variants = tuple({"axis": axis, "keepdims": keepdims} for axis, keepdims in AXES)
    shape, large = (3, 5, 4, 17), (3, 41, 7, 503)

    def sized(self, rng, dtype, shape):
        return ((rng.uniform(0.1, 1.5, shape) * rng.choice([-1, 1], shape)).astype(dtype),)

    def draw(self, rng, dtype):
        shape = any_shape(rng, least=1)
        settings = {"axis": any_axes(rng, len(shape)), "keepdims": bool(rng.integers(2))}
        return settings, self.sized(rng, dtype, shape)

    def reduction(self, x):
        return x.size

    def axes(self, x):
        return tuple(range(x.ndim)) if self.axis is None else self.axis


class TestNorm(AxesCase):
    op_name = "norm"
    arguments = ("p", "axis", "keepdims")
    p = 2
    variants = (
        *AxesCase.variants,
        *({"p": p, "axis": axis, "keepdims": False} for p in (0, 1, 1.5, 3, -2) for axis in (None, (0, 2))),
        *(
            {"p": p, "axis": axis, "keepdims": True}
            for p in (math.inf, -math.inf, 0.5)
            for axis in (1, (1, 3))
        ),
    )

    def inputs(self, rng, dtype):
        if abs(self.p) != math.inf:
            return super().inputs(rng, dtype)
        x = (rng.permutation(1020) + 1) * rng.choice([-1, 1], 1020) / 32  # no ties
        return (x.reshape(3, 5, 4, 17).astype(dtype),)

    def draw(self, rng, dtype):
        settings, (x,) = super().draw(rng, dtype)
        return {"p": rng.choice([0, 1, 2, 3, 1.5, math.inf, -math.inf]), **settings}, (x,)

    def magnitude(self, *arrays):
        """The slope of a root near 0, and of x^(1/p) for small p."""
        return super().magnitude(*arrays) * (400 if self.p in (0.5, -2) else 4)


class TestLogSumExp(AxesCase):
    op_name = "logsumexp"


class TestProd(AxesCase):
    op_name = "prod"
    variants = tuple(
        {"axis": axis, "keepdims": k} for axis, k in ((None, False), (0, True), (1, False), (-1, False))
    )
    empty = (3, 0, 4, 17)

    def inputs(self, rng, dtype):
        x = rng.uniform(0.8, 1.2, (3, 5, 4, 17)) * rng.choice([-1, 1], (3, 5, 4, 17))
        x[1, 2, 3, ::9] = 0  # one zero in some lines, two in others
        return (x.astype(dtype),)

    def draw(self, rng, dtype):
        x = rng.uniform(0.8, 1.2, any_shape(rng, least=1)) * 1
        x[rng.random(x.shape) < 0.02] = 0
        axis = None if rng.random() < 0.3 else any_axis(rng, x.ndim)
        return {"axis": axis, "keepdims": axis is not None and bool(rng.integers(2))}, (x.astype(dtype),)


class TestSpreadAndMean(AxesCase):
    op_name = ("var_mean", "std_mean")
    variants = tuple({"name": n, "axis": a, "keepdims": k} for n in op_name for a, k in AXES[:3])

    def draw(self, rng, dtype):
        shape = tuple(n + 1 for n in any_shape(rng, least=1, most=3))
        x = (rng.permutation(int(np.prod(shape))).reshape(shape) / 64).astype(dtype)
        return {**self.drawn_variant(rng), "axis": any_axes(rng, x.ndim)}, (x,)

    def op(self, x):
        return getattr(ops, self.name)(x, self.axis, keepdim=self.keepdims)

    def reference(self, x):
        spread = getattr(reference, self.name[:3])
        return spread(x, self.axis, self.keepdims), reference.mean(x, self.axis, self.keepdims)

    def reference_backward(self, dy, x):
        spread = getattr(reference, f"{self.name[:3]}_backward")(dy[0], x, self.axis, self.keepdims)
        return (spread + reference.mean_backward(dy[1], x, self.axis, self.keepdims),)


class TestCountNonzero(AxesCase):
    op_name = "count_nonzero"
    module = np
    differentiable = False
    arguments = ("axis",)
    variants = tuple({"axis": axis} for axis in (None, 0, (0, 2)))

    def sized(self, rng, dtype, shape):
        return (rng.integers(0, 3, shape).astype(dtype),)


def test_nothing_to_reduce():
    x = rv.zeros(0, 3)
    assert x.norm(dim=0).tolist() == x.norm(1, dim=0).tolist() == x.norm(0, dim=0).tolist() == [0, 0, 0]
    assert x.logsumexp(0).tolist() == [-math.inf] * 3
    assert x.logsumexp(1).shape == x.norm(math.inf, dim=1).shape == (0,)
    assert x.prod(0).tolist() == [1, 1, 1]
    refused(ValueError, "empty along the axis", x.norm, math.inf, dim=0)


def test_extremes_of_logsumexp():
    inf = math.inf
    x = rv.tensor([[1000.0, 1000.0], [-1000.0, -1000.0], [inf, 1.0], [-inf, -inf], [1.0, math.nan]])
    y = x.logsumexp(1).tolist()
    assert y[:4] == pytest.approx([1000 + math.log(2), -1000 + math.log(2), inf, -inf])
    assert math.isnan(y[4])


def test_a_norm_of_zero_has_gradient_zero():
    for p in (0, 0.5, 1, 1.5, 2, 3, math.inf):
        x = rv.zeros(4, requires_grad=True)
        x.norm(p).backward()
        assert x.grad.tolist() == [0, 0, 0, 0], p


def test_other_dtypes_and_ranks():
    assert rv.tensor([[1, 2], [3, 4]]).prod(1).tolist() == [2, 12]
    assert rv.tensor(3.0).prod(0).item() == rv.tensor(-3.0).norm().item() == 3
    assert rv.tensor([0, 0]).logsumexp(0).item() == pytest.approx(math.log(2))
    assert rv.tensor([3, 4]).norm(dtype=rv.float32).item() == 5


def test_linalg():
    a = rv.tensor([[1.0, -2.0], [3.0, 4.0]])
    norms = [rv.linalg.matrix_norm(a, ord).item() for ord in (1, -1, math.inf, -math.inf)]
    assert norms == [6, 4, 7, 3]
    assert rv.linalg.norm(a).item() == rv.linalg.matrix_norm(a).item() == pytest.approx(math.sqrt(30))
    assert rv.linalg.norm(a, 1).item() == 6
    assert rv.linalg.norm(a, 1, dim=1).tolist() == [3, 7]
    assert rv.linalg.vector_norm(a, 1).item() == 10
    assert rv.linalg.matrix_norm(a.reshape(1, 2, 2), 1, keepdim=True).shape == (1, 1, 1)
    with pytest.raises(ValueError, match=r"\[matrix_norm\] got ord 3; expected 'fro', 'nuc', 1, -1, 2"):
        rv.linalg.matrix_norm(a, 3)
    with pytest.raises(ValueError, match=r"\[matrix_norm\] got dim \(1, -1\); expected two dimensions"):
        rv.linalg.matrix_norm(a, dim=(1, -1))


@pytest.mark.parametrize("dim", [(-2, -1), (0, 1), (2, 0)])
@pytest.mark.parametrize("keepdim", [False, True])
def test_norms_of_singular_values(dim, keepdim):
    a = np.random.default_rng(3).standard_normal((3, 2, 4))
    matrices = np.moveaxis(a, dim, (-2, -1))
    values = np.linalg.svd(matrices, compute_uv=False)
    shape = np.linalg.norm(a, axis=dim, keepdims=keepdim).shape
    for ord, expected in ((2, values.max(-1)), (-2, values.min(-1)), ("nuc", values.sum(-1))):
        x = rv.tensor(a, requires_grad=True)
        y = rv.linalg.matrix_norm(x, ord, dim, keepdim)
        np.testing.assert_allclose(y.detach().numpy(), expected.reshape(shape), rtol=1e-12)
        gradcheck(lambda x, ord=ord: rv.linalg.matrix_norm(x, ord, dim, keepdim), (x,))
    np.testing.assert_allclose(rv.norm(rv.tensor(a), "nuc", dim).numpy(), values.sum(-1), rtol=1e-12)


def test_equal_singular_values_share_the_gradient():
    x = rv.eye(2, requires_grad=True)
    rv.linalg.matrix_norm(x, 2).backward()
    np.testing.assert_allclose(x.grad.numpy(), np.eye(2) / 2, atol=1e-7)


def test_singular_values_of_what_has_none():
    wrong = refusals(rv.linalg.matrix_norm)
    wrong(TypeError, "got A of dtype int64; expected float32 or float64", rv.tensor([[1]]), 2)
    wrong(ValueError, "got a matrix without a result; expected finite", rv.tensor([[float("nan"), 1.0]]), 2)
    assert [rv.linalg.matrix_norm(rv.zeros(0, 2), kind).item() for kind in (2, "nuc")] == [0, 0]


@pytest.mark.parametrize("name", ["svd", "pinv", "lstsq", "matrix_norm"])
def test_singular_values_of_infinite_matrices_end(name):
    x = rv.tensor([[math.inf, 0.5, 0.25], [0.5, 2.0, 0.5], [0.25, 0.5, 2.0]], requires_grad=True)
    settings = {"lstsq": (x,), "matrix_norm": ("nuc",)}.get(name, ())
    refused(ValueError, f"[{name}] got a matrix without a result", getattr(rv.linalg, name), x, *settings)
    rv.stack([x, rv.eye(3)]).det().sum().backward()  # by the singular values
    assert np.isnan(x.grad.numpy()).all()


def test_wrong_calls():
    x = rv.zeros(2, 3)
    refused(ValueError, "[norm] got p 'max'; expected 'fro', 'nuc' or a number", x.norm, "max")
    refused(ValueError, "[norm] got p 'nuc', dim 1 and x of shape (2, 3)", x.norm, "nuc", 1)
    refused(TypeError, "[norm] got x of dtype int64", rv.tensor([1, 2]).norm)
    refused(ValueError, "[prod] got 2 axes; expected one, or None", x.prod, (0, 1))
    refused(ValueError, "[max] got x of shape (0, 3), empty along the axis", x[:0].max, 0)
    refused(ValueError, "[min] got axis 2 for an array of 2 dimensions; expected -2 to 1", x.min, 2)


@pytest.mark.parametrize("ord", [1, 2, math.inf, "nuc", "fro"])
def test_norms_of_matrices_without_elements(ord):
    for shape in ((0, 0), (0, 3), (3, 0)):
        assert rv.linalg.matrix_norm(rv.zeros(shape), ord).tolist() == 0.0
        assert rv.linalg.matrix_norm(rv.zeros(2, *shape), ord, keepdim=True).tolist() == [[[0.0]]] * 2
    if isinstance(ord, (int, float)):
        refused(ValueError, "[", rv.linalg.matrix_norm, rv.zeros(0, 0), -ord)
