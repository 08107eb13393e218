"""Norms and distances of nothing and of zero; norms of matrices beside NumPy's singular values. A test with
the fixture `isa` runs at each ISA level (instruction set).
"""

import math

import numpy as np
import pytest
import ranvier as rv
from ranvier.autograd import gradcheck
from support.refused import refusals, refused


def test_nothing_to_reduce():
    x = rv.zeros(0, 3)
    assert x.norm(dim=0).tolist() == x.norm(1, dim=0).tolist() == x.norm(0, dim=0).tolist() == [0, 0, 0]
    assert x.logsumexp(0).tolist() == [-math.inf] * 3
    assert x.logsumexp(1).shape == x.norm(math.inf, dim=1).shape == (0,)
    refused(ValueError, "empty along the axis", x.norm, math.inf, dim=0)


def test_a_norm_of_zero_has_gradient_zero():
    for p in (0, 0.5, 1, 1.5, 2, 3, math.inf):
        x = rv.zeros(4, requires_grad=True)
        x.norm(p).backward()
        assert x.grad.tolist() == [0, 0, 0, 0], p


def test_zero_vectors(isa):
    """No angle: 0, with the slope that the bound on the norm gives."""
    x1 = rv.tensor([[0.0, 0.0]], requires_grad=True)
    y = rv.nn.functional.cosine_similarity(x1, rv.tensor([[3.0, 4.0]]), eps=0.5)
    y.sum().backward()
    assert y.item() == 0
    np.testing.assert_allclose(x1.grad.numpy(), [[1.2, 1.6]], rtol=1e-6)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, float("inf")])
def test_equal_vectors(p, isa):
    """No distance and no slope, rather than 0 / 0."""
    x = rv.tensor([[1.0, 2.0]], requires_grad=True)
    y = rv.nn.functional.pairwise_distance(x, rv.tensor([[1.0, 2.0]]), p=p, eps=0.0)
    y.sum().backward()
    assert y.item() == 0
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 0]])


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


@pytest.mark.parametrize("ord", [1, 2, math.inf, "nuc", "fro"])
def test_norms_of_matrices_without_elements(ord):
    for shape in ((0, 0), (0, 3), (3, 0)):
        assert rv.linalg.matrix_norm(rv.zeros(shape), ord).tolist() == 0.0
        assert rv.linalg.matrix_norm(rv.zeros(2, *shape), ord, keepdim=True).tolist() == [[[0.0]]] * 2
    if isinstance(ord, (int, float)):
        refused(ValueError, "[", rv.linalg.matrix_norm, rv.zeros(0, 0), -ord)
