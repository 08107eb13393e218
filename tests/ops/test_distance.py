"""Cosine similarity, pairwise distances and the losses made of them, against the references."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from reference import distance as reference
from reference import loss as losses
from support.op_case import OpCase


class DistanceCase(OpCase):
    module = reference
    low, high = -2, 2
    any_size = True
    shape, large = ((3, 37, 5),) * 2, ((301, 97),) * 2

    def drawn_shape(self, rng):
        return (tuple(rng.integers(1, 40, 2).tolist()),) * 2

    def draw(self, rng, dtype):
        settings, arrays = super().draw(rng, dtype)
        return {**settings, "inner": 1.0}, arrays  # the slopes of short vectors cancel

    def reduction(self, x1, *others):
        return x1.size

    def magnitude(self, *arrays):
        return 4 * super().magnitude(*arrays)  # small powers of quotients, differences of slopes


class TestCosineSimilarity(DistanceCase):
    op_name = "cosine_similarity"
    arguments = ("dim", "eps")
    variants = ({"dim": 1, "eps": 1e-8}, {"dim": -1, "eps": 1e-8}, {"dim": 0, "eps": 100.0})
    empty = ((0, 3, 2),) * 2

    def drawn_variant(self, rng):
        return {"dim": int(rng.integers(-2, 2)), "eps": float(rng.choice([1e-8, 1.0]))}


class TestPairwiseDistance(DistanceCase):
    op_name = "pairwise_distance"
    arguments = ("p",)
    variants = ({"p": 2.0}, {"p": 1.0}, {"p": 3.5}, {"p": float("inf")})
    empty = ((0, 3),) * 2

    def off_kinks(self, x1, x2):
        return np.where(np.abs(x1 - x2) < 0.02, x2 + 0.1, x1).astype(x1.dtype), x2

    def reference(self, x1, x2):
        return reference.pairwise_distance(x1, x2, -1, self.p)

    def reference_backward(self, dy, x1, x2):
        return reference.pairwise_distance_backward(dy, x1, x2, -1, self.p)


class TestCosineEmbedding(DistanceCase):
    """The norms' bound is not PyTorch's (1e-12 added to the squares), which differs below 1e-5 only."""

    op_name = "cosine_embedding"
    arguments = ("margin", "reduction_name")
    shape = ((7, 19),) * 2
    variants = tuple(
        {"margin": margin, "reduction_name": name}
        for margin, name in ((0.0, "mean"), (0.3, "sum"), (0.3, "none"))
    )

    def sized(self, rng, dtype, shape):
        return (*super().sized(rng, dtype, shape), np.where(np.arange(shape[0][0]) % 3, -1, 1))

    def off_kinks(self, x1, x2, target):
        near = np.abs(reference.cosine_similarity(x1, x2, 1, 1e-6) - self.margin) < 0.02
        return np.where(near[:, None], x1 + 0.3, x1).astype(x1.dtype), x2, target

    def reference(self, x1, x2, target):
        cosine = reference.cosine_similarity(x1, x2, 1, 1e-6)
        return losses.cosine_margin(cosine, target, reduction=self.reduction_name, margin=self.margin)

    def reference_backward(self, dy, x1, x2, target):
        cosine = reference.cosine_similarity(x1, x2, 1, 1e-6)
        settings = {"reduction": self.reduction_name, "margin": self.margin}
        by_cosine, _ = losses.cosine_margin.backward(dy, cosine, target, **settings)
        return (*reference.cosine_similarity_backward(by_cosine, x1, x2, 1, 1e-6), None)


class TestTripletMargin(DistanceCase):
    op_name = "triplet_margin"
    variants = (
        {"settings": {"margin": 3.0}, "reduction_name": "mean"},
        {"settings": {"margin": 3.0, "swap": True, "p": 3.0}, "reduction_name": "none"},
    )
    shape, large = ((7, 19),) * 3, ((301, 97),) * 3

    def drawn_shape(self, rng):
        return (tuple(rng.integers(1, 30, 2).tolist()),) * 3

    def off_kinks(self, anchor, positive, negative):
        d_positive, d_negative, d_swapped = self.distances(anchor, positive, negative)
        z = self.settings["margin"] + d_positive - np.minimum(d_negative, d_swapped)
        near = (np.abs(z) < 0.05) | (np.abs(d_negative - d_swapped) < 0.05)
        return np.where(near[:, None], anchor + 0.4, anchor).astype(anchor.dtype), positive, negative

    def distances(self, anchor, positive, negative):
        p = self.settings.get("p", 2.0)
        pairs = ((anchor, positive), (anchor, negative), (positive, negative))
        near, far, other = (reference.pairwise_distance(a, b, -1, p) for a, b in pairs)
        return near, far, other if self.settings.get("swap") else far

    def margin(self):
        return {"reduction": self.reduction_name, "margin": self.settings["margin"]}

    def op(self, *arrays):
        return ops.triplet_margin(*arrays, reduction=self.reduction_name, **self.settings)

    def reference(self, *arrays):
        near, far, other = self.distances(*arrays)
        return losses.margin_ranking(np.minimum(far, other), near, np.ones_like(near), **self.margin())

    def reference_backward(self, dy, anchor, positive, negative):
        near, far, other = self.distances(anchor, positive, negative)
        arrays = np.minimum(far, other), near, np.ones_like(near)
        by_far, by_near, _ = losses.margin_ranking.backward(dy, *arrays, **self.margin())

        def back(d, a, b):
            return reference.pairwise_distance_backward(d, a, b, -1, self.settings.get("p", 2.0))

        first = far <= other
        da, dp = back(by_near, anchor, positive)
        da2, dn = back(np.where(first, by_far, 0), anchor, negative)
        dp2, dn2 = back(np.where(first, 0, by_far), positive, negative)
        return da + da2, dp + dp2, dn + dn2


def test_zero_vectors(isa):
    """No angle: 0, with the slope that the bound on the norm gives."""
    x1 = rv.tensor([[0.0, 0.0]], requires_grad=True)
    y = ops.cosine_similarity(x1, rv.tensor([[3.0, 4.0]]), eps=0.5)
    y.sum().backward()
    assert y.item() == 0
    np.testing.assert_allclose(x1.grad.numpy(), [[1.2, 1.6]], rtol=1e-6)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, float("inf")])
def test_equal_vectors(p, isa):
    """No distance and no slope, rather than 0 / 0."""
    x = rv.tensor([[1.0, 2.0]], requires_grad=True)
    y = ops.pairwise_distance(x, rv.tensor([[1.0, 2.0]]), p=p, eps=0.0)
    y.sum().backward()
    assert y.item() == 0
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 0]])


def test_shapes_broadcast(rng):
    x1 = rv.tensor(rng.normal(size=(4, 1, 3)), requires_grad=True)
    x2 = rv.tensor(rng.normal(size=(5, 3)), requires_grad=True)
    for op in (ops.cosine_similarity, ops.pairwise_distance):
        settings = {"dim": -1} if op is ops.cosine_similarity else {}
        y = op(x1, x2, **settings)
        assert y.shape == (4, 5)
        x1.grad = x2.grad = None
        y.sum().backward()
        assert (x1.grad.shape, x2.grad.shape) == ((4, 1, 3), (5, 3))
        row = op(x1[2, 0].detach(), x2.detach(), **settings)
        np.testing.assert_allclose(row.numpy(), y.detach().numpy()[2], rtol=1e-12)


def test_errors():
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"\[cosine_similarity\] got shapes \(2, 3\) and \(3, 2\); expected"):
        ops.cosine_similarity(x, x.T.copy())
    with pytest.raises(ValueError, match=r"\[pairwise_distance\] got p 0; expected a number above 0"):
        ops.pairwise_distance(x, x, p=0)
    with pytest.raises(ValueError, match=r"\[cosine_embedding\] got target of shape \(3,\) for x1 of shape"):
        ops.cosine_embedding(x, x, np.ones(3))
