"""ctc_loss beside the sum over all paths (small cases), beside the reference, which adds the same in
logarithms, and at its edges: infinite losses, empty targets, single samples.
"""

import math

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from ranvier.autograd import gradcheck
from reference import ctc
from support.refused import refused

INF = math.inf


def draw(rng, steps, batch, classes, scale=1.0, dtype="float64"):
    """Logarithms of probabilities, (steps, batch, classes)."""
    x = scale * rng.standard_normal((steps, batch, classes))
    return (x - np.logaddexp.reduce(x, 2, keepdims=True)).astype(dtype)


def paths_of(target, length, blank=0):
    """All paths of a length that give the target when repetitions and then blanks are removed."""
    for path in np.ndindex(*(3,) * length):
        merged = [c for i, c in enumerate(path) if i == 0 or c != path[i - 1]]
        if [c for c in merged if c != blank] == target:
            yield path


@pytest.mark.parametrize("target", [[], [1], [2, 2], [1, 2], [1, 2, 1], [1, 1, 1]])
@pytest.mark.parametrize("blank", [0, 2])
def test_the_sum_over_all_paths(target, blank, rng):
    target = [1 if label == blank else label for label in target]
    x = draw(rng, 5, 1, 3)
    p = np.exp(x)[:, 0]
    total = sum(math.prod(p[t, c] for t, c in enumerate(path)) for path in paths_of(target, 5, blank))
    padded = rv.tensor([[*target, 0]])
    found = F.ctc_loss(rv.tensor(x), padded, [5], [len(target)], blank=blank, reduction="sum")
    assert found.item() == pytest.approx(-math.log(total), rel=1e-12)


CASES = [  # steps, classes, scale, targets, lengths
    (1, 4, 1.0, [[1], [], [2, 3]], [1, 1, 1]),
    (12, 6, 1.0, [[1, 1, 2, 3, 1], [1, 2, 3], [], [5, 5, 5, 5, 5]], [12, 7, 12, 9]),
    (12, 6, 40.0, [[1, 1, 2, 3, 1], [1, 2, 3], [], [4]], [12, 7, 0, 12]),
    (60, 9, 30.0, [[3, 1, 4, 1, 5] * 5, [8] * 29, [1]], [60, 59, 60]),
    (9, 3, 2.0, [[1, 2], [1, 1, 1, 1, 1, 1]], [2, 9]),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("concatenated", [False, True])
@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize(("steps", "classes", "scale", "targets", "lengths"), CASES)
def test_the_reference(steps, classes, scale, targets, lengths, zero_infinity, concatenated, dtype, rng):
    """Losses and gradients within a relative 3e-5 of float32 and 1e-11 of float64, for padded and
    concatenated targets and any memory order."""
    x = draw(rng, steps, len(targets), classes, scale, dtype)
    loss, dx = ctc.ctc_loss(x, targets, lengths)
    if zero_infinity:
        dx[:, loss == INF] = 0
        loss[loss == INF] = 0
    longest = max(map(len, targets))
    padded = np.array([target + [-1] * (longest - len(target)) for target in targets], np.int64)
    given = np.concatenate([np.array(target, np.int32) for target in targets]) if concatenated else padded
    sizes, tolerance = [len(target) for target in targets], 3e-5 if dtype == "float32" else 1e-11
    for view in (x, np.ascontiguousarray(x.transpose(2, 1, 0)).transpose(2, 1, 0)):
        leaf = rv.tensor(view, requires_grad=True)
        found = F.ctc_loss(leaf, rv.tensor(given), lengths, rv.tensor(sizes), 0, "none", zero_infinity)
        found.sum().backward()
        assert found.dtype == getattr(rv, dtype)
        np.testing.assert_allclose(found.detach().numpy(), loss, rtol=tolerance)
        np.testing.assert_allclose(leaf.grad.numpy(), dx, rtol=tolerance, atol=tolerance)


def test_gradients_are_those_of_differences_after_log_softmax(rng):
    for reduction in ("mean", "sum", "none"):
        assert gradcheck(
            lambda x, reduction=reduction: F.ctc_loss(
                rv.log_softmax(x, 2), rv.tensor([[1, 1], [2, 0]]), [4, 3], [2, 1], reduction=reduction
            ),
            (rv.tensor(rng.standard_normal((4, 2, 3)), requires_grad=True),),
        )


def test_one_sample_and_means(rng):
    """The mean divides each loss by its target's length first; a sample without a batch; the layer; no
    samples."""
    x = rv.tensor(draw(rng, 6, 2, 4))
    targets, lengths, sizes = rv.tensor([[1, 2, 3], [2, 1, 0]]), rv.tensor([6, 5]), rv.tensor([3, 0])
    each = F.ctc_loss(x, targets, lengths, sizes, reduction="none")
    assert F.ctc_loss(x, targets, lengths, sizes).item() == pytest.approx(
        (each[0].item() / 3 + each[1].item()) / 2
    )
    assert F.ctc_loss(x, targets, lengths, sizes, reduction="sum").item() == pytest.approx(each.sum().item())
    one = F.ctc_loss(x[:, 0], targets[0], rv.tensor(6), rv.tensor(3), reduction="none")
    assert one.shape == ()
    assert one.item() == each[0].item()
    assert F.ctc_loss(x[:, 0], targets[0], (6,), (3,)).item() == pytest.approx(each[0].item() / 3)
    layer = rv.nn.CTCLoss(reduction="none")
    assert layer(x, targets, lengths, sizes).tolist() == each.tolist()
    none = F.ctc_loss(x[:, :0], targets[:0], lengths[:0], sizes[:0], reduction="none")
    assert none.shape == (0,)


def test_probabilities_out_of_the_range_of_doubles():
    """Products of these, and single ones, have no double; the loss has."""
    x = np.full((400, 1, 3), -1000.0)
    loss = F.ctc_loss(rv.tensor(x), rv.tensor([[1, 2] * 20]), [400], [40], reduction="sum")
    alignments = math.log(math.comb(440, 80))
    assert loss.item() == pytest.approx(400000 - alignments, rel=1e-12)
    for value, expected in ((-3e38, 3e38), (-INF, INF), (math.nan, math.nan)):
        x = rv.tensor([[[-1.0, value]]], dtype=rv.float64)
        found = F.ctc_loss(x, rv.tensor([[1]]), [1], [1], reduction="sum").item()
        assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_bits_do_not_depend_on_threads_or_the_batch(rng):
    """Losses and gradients are compared; each sample's loss is the one that it has alone."""
    x = draw(rng, 30, 7, 5, dtype="float32")
    targets, sizes = rng.integers(1, 5, (7, 9)), rng.integers(0, 10, 7)
    found = []
    for threads in (1, 2, 3):
        rv.set_num_threads(threads)
        leaf = rv.tensor(x, requires_grad=True)
        loss = F.ctc_loss(leaf, rv.tensor(targets), [30] * 7, rv.tensor(sizes), reduction="none")
        loss.sum().backward()
        found.append((loss.detach().numpy(), leaf.grad.numpy()))
    rv.set_num_threads(1)
    for loss, dx in found[1:]:
        np.testing.assert_array_equal(loss, found[0][0])
        np.testing.assert_array_equal(dx, found[0][1])
    for n in range(7):
        alone = F.ctc_loss(rv.tensor(x[:, n]), rv.tensor(targets[n]), 30, int(sizes[n]), reduction="sum")
        assert alone.item() == found[0][0][n]


def test_labels_lose_their_fractions():
    x, lengths = rv.zeros(3, 1, 3).log_softmax(-1), (rv.tensor([3]), rv.tensor([2]))
    want = F.ctc_loss(x, rv.tensor([[1, 2]]), *lengths).item()
    for labels in (rv.tensor([[1.0, 2.0]]), rv.tensor([[1.9, 2.4]]).half()):
        assert F.ctc_loss(x, labels, *lengths).item() == want
    refused(TypeError, "[ctc_loss] got", F.ctc_loss, x, rv.tensor([[1, 2]]), rv.tensor([3.0]), lengths[1])
