"""Samples of `ops/loss`, and of the layers that compute them.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

from functools import partial

import numpy as np
from ranvier import nn
from reference import class_loss, distance, loss as reference

from samples.sample import at_kink, call, fixed, op, refused


def terms(x, *others, **settings):
    return max(x.size, 1)


loss = partial(op, terms=terms, autocast="float32")


def of_elements(low, high, low_target, high_target, *all_settings):
    """Losses of numbers x and targets of the same shape, each in its range, with each reduction."""

    def samples(x):
        def pair(*shape):
            return x(*shape, low=low, high=high), x(*shape, low=low_target, high=high_target)

        yield call(*pair(3, x.n))
        yield call(*pair(2, 1, x.n), reduction="sum")
        yield call(*pair(3, x.n), reduction="none")
        yield call(*pair(0, 3), reduction="sum")
        for number, settings in enumerate(({}, *all_settings)):
            reduction = ("mean", "sum", "none")[number % 3]
            yield call(*pair(*x.shape(least=1)), reduction=reduction, **settings)
        yield refused(ValueError, "expected equal shapes", pair(3)[0], pair(3, 1)[1])
        yield refused(ValueError, "got reduction", *pair(3), reduction="max")

    return samples


def of_losses(name, *limits_and_settings, **known):
    loss(of_elements(*limits_and_settings), names=name, reference=getattr(reference, name), **known)


of_losses("mse", -3, 3, -2, 2, lacks="jet")
of_losses(
    "l1", -3, 3, 4, 6, lacks="jet", apart="NaN infinity"
)  # apart, as it has a kink where they are equal
of_losses("smooth_l1", -3, 3, -2, 2, {"beta": 0.5}, {"beta": 2.0}, lacks="jet")
of_losses("huber", -3, 3, -2, 2, {"delta": 0.5}, {"delta": 2.0}, lacks="jet")
of_losses(
    "bce",
    0.05,
    0.95,
    0,
    1,
    {"weight": fixed(np.array(3.0))},
    lacks="jet NaN promotion",
    apart="ties NaN infinity",
)
of_losses(
    "bce_with_logits",
    -3,
    3,
    0,
    1,
    {"pos_weight": fixed(np.array([3.0]))},
    lacks="jet limits infinity",
    apart="infinity",
)
of_losses("kl_div", -4, 0, 0.05, 1, lacks="jet", apart="ties NaN infinity")
of_losses(
    "poisson_nll",
    0.1,
    2,
    1.1,
    5,
    {"full": True},
    {"log_input": False, "full": True, "eps": 1e-3},
    apart="ties NaN infinity",
)


@loss(of="nn.functional.kl_div", reference=reference.kl_div, lacks="jet limits", apart="infinity infinities")
def kl_div_of_logarithms(x):
    yield call(x(3, 5, low=-4, high=0), x(3, 5, low=-3, high=0), reduction="batchmean", log_target=True)
    yield call(x(3, 5, low=-4, high=0), x(3, 5, low=-3, high=0), log_target=True, reduction="none")
    yield call(x(4, low=-4, high=0), fixed(np.array([0.0, 0.3, 0.0, 0.7])), reduction="batchmean")


WEIGHTS = ((), (1,), (7,), (5, 7), (3, 1, 7), (3, 5, 1), (3, 5, 7))  # shapes that broadcast to (3, 5, 7)


@loss(of="ops.bce", reference=reference.bce, lacks="jet NaN", apart="ties NaN infinity")
def bce_with_weights(x):
    yield at_kink(np.array([0.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 1.0]), reduction="none")
    shares = np.full((4, 3), 0.5)
    yield refused(ValueError, "[bce] got x with the value 1.5; expected values from 0", shares + 1, shares)
    yield refused(ValueError, "[bce] got target with the value -0.5; expected values", shares, shares - 1)
    text = "[bce] got weight of shape (4,); expected one that broadcasts to x's shape (4, 3)"
    yield refused(ValueError, text, shares, shares, fixed(x(4)))
    for shape in WEIGHTS:
        weight = fixed(x(*shape, low=0.5, high=2.0))
        yield call(x(3, 5, 7, low=0.05, high=0.95), x(3, 5, 7, low=0.0), weight, reduction="sum")


@loss(
    of="ops.bce_with_logits",
    reference=reference.bce_with_logits,
    lacks="jet limits infinity",
    apart="infinity",
)
def bce_of_logits_with_weights(x):
    weights = {"weight": fixed(x(4, low=0.5, high=2.0)), "pos_weight": fixed(x(4, low=0.5, high=4.0))}
    yield call(x(3, 4, low=-3, high=3), x(3, 4, low=0.0), **weights)
    yield at_kink(np.array([1e4, -1e4]), np.array([0.0, 1.0]), reduction="none")
    text = "[bce_with_logits] got pos_weight that requires a gradient"
    yield refused(ValueError, text, x(4, 3), x(4, 3), pos_weight=x(3))
    for shape in WEIGHTS:
        given = {name: fixed(x(*shape, low=0.5, high=4.0)) for name in ("weight", "pos_weight")}
        yield call(x(3, 5, 7, low=-3, high=3), x(3, 5, 7, low=0.0), reduction="none", **given)


@op(reference=reference.gaussian_nll, terms=terms, lacks="NaN", apart="ties NaN infinity")
def gaussian_nll(x):
    yield call(x(3, x.n), x(3, x.n), x(3, x.n, low=0.6, high=3.0))
    yield call(x(3, x.n), x(3, x.n), x(3, x.n, low=0.6, high=3.0), full=True, reduction="sum")
    shape = x.shape(least=1)
    yield call(x(*shape), x(*shape), x(*shape, low=0.6, high=3.0), eps=0.5, reduction="none")
    yield call(x(3, 4), x(3, 4), x(3, 1, low=0.6, high=3.0))
    yield call(x(3, 4), x(3, 4), x(3, low=0.6, high=3.0)).without("one variance for each row", "reference")
    yield call(x(3, 4), 0.5, x(3, 4, low=0.6, high=3.0))
    text = "[gaussian_nll] got var of shape (4,) for x of shape (3, 4)"
    yield refused(ValueError, text, x(3, 4), x(3, 4), x(4, low=0.6))


@loss(reference=class_loss.cross_entropy, inner=1.0, lacks="limits 0-d", apart="NaN infinity infinities")
def cross_entropy(x):
    yield call(x(5, x.n, low=-3, high=3), x.integers(0, 1, 5))
    yield call(x(4, 6), x.integers(0, 6, 4), weight=fixed(x(6, low=0.2)), label_smoothing=0.1)
    yield call(x(4, 6), np.array([1, -100, 2, 5]), ignore_index=-100)
    yield call(x(4, 6), np.array([1, 2, 2, 5]), ignore_index=2, label_smoothing=1.0)
    n, c, rest = x.size(1, 7), x.size(1, 40), x.shape(most=2, high=4)
    rest = tuple(max(size, 1) for size in rest)
    of_int32 = x.integers(0, c, n, *rest, dtype=np.int32)
    whole = call(x(n, c, *rest, low=-3, high=3), of_int32, reduction="none")
    yield whole.without("PyTorch refuses labels of int32", "pytorch")
    yield call(x(n, c, *rest), x(n, c, *rest, low=0.1), reduction="sum", label_smoothing=0.3)
    yield call(x(4, 6), x(4, 6, low=0.0), weight=fixed(x(6, low=0.2)))
    yield call(x(0, 3), x.integers(0, 3, 0), reduction="sum")
    yield at_kink(np.array([[1e4, -1e4, 0.0]]), np.array([1]))
    scores, labels = x(4, 3), np.zeros(4, int)
    for error, text, target, settings in (
        (IndexError, "class index 3 for x of shape (4, 3); expected 0 <= index < 3", labels + 3, {}),
        (ValueError, "class index -1 for x", labels - 1, {}),
        (ValueError, "class index -100 for x", labels - 100, {"ignore_index": 0}),
        (
            ValueError,
            "class indices of shape (4, 1) for x of shape (4, 3); expected (4,)",
            labels[:, None],
            {},
        ),
        (TypeError, "target of dtype bool; expected an integer", labels > 0, {}),
        (ValueError, "weight of shape (4,); expected (3,)", labels, {"weight": fixed(x(4))}),
        (ValueError, "weight that requires a gradient", labels, {"weight": x(3)}),
        (ValueError, "label_smoothing 1.5; expected a number from 0 to 1", labels, {"label_smoothing": 1.5}),
    ):
        yield refused(error, f"[cross_entropy] got {text}", scores, target, **settings)
    yield refused(ValueError, "[cross_entropy] got x of shape (); expected (N, C)", x(), np.array(1))


@loss(reference=class_loss.nll, lacks="jet limits")
def nll(x):
    yield call(x(4, 6), x.integers(0, 6, 4))
    yield call(x(4, 6), np.array([1, 2, 0, 5]), weight=fixed(x(6, low=0.2)), ignore_index=2)
    n, c, rest = x.size(1, 7), x.size(1, 40), tuple(max(size, 1) for size in x.shape(most=2, high=4))
    yield call(x(n, c, *rest), x.integers(0, c, n, *rest), reduction="none")
    yield call(x(0, 3), x.integers(0, 3, 0), reduction="sum")
    yield refused(TypeError, "[nll] got target of dtype float32; expected class indices", x(4, 3), x(4, 3))


def margin_of_cosines(x1, x2, target, margin=0.0, reduction="mean"):
    """The norms' bound is not PyTorch's (1e-12 added to the squares), which differs below 1e-5 only."""
    cosine = distance.cosine_similarity(x1, x2, 1, 1e-6)
    return reference.cosine_margin(cosine, target, reduction=reduction, margin=margin)


@loss(reference=margin_of_cosines, inner=1.0)
def cosine_embedding(x):
    yield call(x(4, 7), x(4, 7), fixed(np.array([1.0, -1.0, 1.0, 1.0])))
    yield call(x(3, 7), x(3, 7), fixed(x.signs(3)), margin=0.3, reduction="none")
    yield call(x(3, 7), x(3, 7), fixed(x.signs(3)), 0.3, reduction="sum")
    yield call(x(2, 3), x(2, 3), fixed(np.array([1.0])), reduction="none")
    yield refused(ValueError, "[cosine_embedding] got target of shape (3,)", x(2, 3), x(2, 3), fixed(x(3)))


@loss(reference=reference.margin_ranking)
def margin_ranking(x):
    yield call(x(3, x.n), x(3, x.n, low=2, high=3), fixed(x.signs(3, x.n)))
    yield call(x(5), x(5, low=2, high=3), fixed(x.signs(5)), margin=0.3, reduction="none")
    shape = x.shape(least=1)
    yield call(x(*shape), x(*shape, low=2, high=3), fixed(x.signs(*shape)), margin=0.5, reduction="sum")


def margin_of_distances(anchor, positive, negative, margin=1.0, p=2.0, swap=False, reduction="mean"):
    pairs = (anchor, positive), (anchor, negative), (positive, negative)
    near, far, other = (distance.pairwise_distance(a, b, -1, p) for a, b in pairs)
    far = np.minimum(far, other) if swap else far
    return reference.margin_ranking(far, near, np.ones_like(near), reduction=reduction, margin=margin)


@loss(reference=margin_of_distances, inner=1.0, lacks="0-d")
def triplet_margin(x):
    yield call(x(3, 7), x(3, 7), x(3, 7), margin=3.0)
    yield call(x(3, 7), x(3, 7), x(3, 7), margin=3.0, swap=True, p=3.0, reduction="none")
    shape = x.size(1, 30), x.size(1, 30)
    yield call(x(*shape), x(*shape), x(*shape), margin=9.0, reduction="sum")


@op(lacks="C ONNX jet rounding second", autocast="float32", apart="gradient")
def ctc_loss(x):
    probable = np.log(np.full((6, 2, 5), 0.2)) + 0.1 * x(6, 2, 5)
    yield call(probable, np.array([[1, 2, 0], [3, 3, 0]]), np.array([6, 5]), np.array([2, 2]))
    yield call(probable, np.array([[1, 2], [3, 4]]), np.array([6, 6]), np.array([2, 2]), 0, "none", True)
    scores = np.zeros((4, 2, 3))
    for text, arguments in (
        ("got log_probs of shape (4, 2, 3) and 1 and 2 lengths", (scores, [[1], [1]], [4], [1, 1])),
        ("got input_lengths from 4 to 5; expected 0 to 4", (scores, [[1], [1]], [4, 5], [1, 1])),
        ("got targets of shape (2, 1) and target_lengths [1, 2]", (scores, [[1], [1]], [4, 4], [1, 2])),
        ("got targets of shape (2,) and target_lengths [1, 2]", (scores, [1, 1], [4, 4], [1, 2])),
        ("got targets of shape (2, 1) and target_lengths [1, -1]", (scores, [[1], [1]], [4, 4], [1, -1])),
        ("got a label or blank outside 0 ... 2", (scores, [[1], [3]], [4, 4], [1, 1])),
        ("got a label or blank outside 0 ... 2", (scores, [[1], [2]], [4, 4], [1, 1], 3)),
        ("got log_probs of shape (4,)", (scores[:, 0, 0], [[1], [2]], [4, 4], [1, 1])),
        ("got reduction 'none at all'", (scores, [[1], [2]], [4, 4], [1, 1], 0, "none at all")),
    ):
        yield refused(ValueError, text, *arguments)


@loss(reference=reference.hinge_embedding, kinks=(1.0, 0.5))
def hinge_embedding_loss(x):
    yield call(x(3, 7), fixed(x.signs(3, 7)))
    yield call(x(3, 7), fixed(x.signs(3, 7)), margin=0.5, reduction="none")
    yield call(x(3, 7), fixed(np.zeros((3, 7))), 0.3, reduction="none")  # no target: both parts


@loss(reference=reference.soft_margin, apart="infinity infinities")
def soft_margin_loss(x):
    yield call(x(3, 7), fixed(x.signs(3, 7)))
    yield call(x(3, 7, low=-80, high=80), fixed(x.signs(3, 7)), reduction="sum")
    yield refused(ValueError, "expected equal shapes", x(3, 4), fixed(x(4)))


@loss(reference=class_loss.multi_margin, lacks="C ONNX captured", apart="NaN infinity infinities")
def multi_margin_loss(x):
    yield call(x(4, 6), x.integers(0, 6, 4))
    yield call(x(4, 6), x.integers(0, 6, 4), p=2, margin=0.7, reduction="none")
    yield call(x(4, 6), x.integers(0, 6, 4), 1, 0.7, fixed(x(6, low=0.2)), reduction="sum")
    yield call(x(4, 6), x.integers(0, 6, 4), 2, 0.7, fixed(x(6, low=0.2)))
    yield call(x(), np.array(0)).without("one class", "reference")
    labels = np.array([2, 0, 3])
    yield refused(ValueError, "[multi_margin_loss] got target of shape (2,)", x(3, 4), labels[:2])
    yield refused(ValueError, "and p 3; expected", x(3, 4), labels, 3)
    yield refused(IndexError, "got index 4", x(3, 4), labels + 1)
    yield refused(ValueError, "[multi_margin_loss] got x of shape (1, 3, 4)", x(1, 3, 4), labels)


@loss(reference=class_loss.multilabel_margin, lacks="C ONNX captured", apart="NaN infinities")
def multilabel_margin_loss(x):
    labels = np.array([[3, 0, -1, 1], [1, -1, 0, 0], [-1, 2, 0, 1]])
    yield call(x(2, 4), labels[:2])
    yield call(x(3, 4), labels, reduction="none")
    yield call(x(4), labels[0], reduction="sum")
    yield call(x(), np.array(0)).without("one class", "reference")
    yield refused(ValueError, "[multilabel_margin_loss] got target", x(3, 4), labels[0])


@op(reference=class_loss.multilabel_soft_margin, terms=terms, lacks="jet limits", apart="infinity infinities")
def multilabel_soft_margin_loss(x):
    yield call(x(4, 6), fixed(x.bools(4, 6).astype(float)))
    yield call(x(4, 6), fixed(x.bools(4, 6).astype(float)), reduction="none")
    yield call(x(4, 6), fixed(x.bools(4, 6).astype(float)), fixed(x(6, low=0.2)), reduction="sum")


SIX = [0.5, 1.0, 2.0, 1.0, 3.0, 0.25]  # weights of classes


def as_layer(layers, *targets, low=-1.0, high=1.0, autocast="float32", **known):
    """Layers of one loss with several settings, and targets as `targets` draw them."""

    def samples(x):
        for layer in layers:
            yield call(layer, x(4, 6, low=low, high=high), *(target(x) for target in targets))

    op(samples, names=type(layers[0]).__name__, inner=1.0, autocast=autocast, **known)


def number(x):
    return x(4, 6)


def unit(x):
    return x(4, 6, low=0.05, high=0.95)


def label(x):
    return x.integers(0, 6, 4)


def sign(x):
    return fixed(x.signs(4, 6))


as_layer([nn.BCELoss(), nn.BCELoss(SIX)], unit, low=0.05, high=0.95, lacks="jet NaN")
logits = nn.BCEWithLogitsLoss(reduction="sum"), nn.BCEWithLogitsLoss(SIX, pos_weight=[3.0])
as_layer(logits, unit, lacks="jet infinity")
as_layer([nn.CosineSimilarity()], number, autocast="")
margins = nn.CosineEmbeddingLoss(), nn.CosineEmbeddingLoss(0.3, reduction="none")
as_layer(margins, number, lambda x: fixed(x.signs(4)))
variances = [nn.GaussianNLLLoss(), nn.GaussianNLLLoss(full=True, eps=0.1)]
as_layer(variances, number, lambda x: x(4, 6, low=0.2, high=1.5), lacks="NaN", autocast="")
as_layer([nn.HuberLoss(delta=0.6), nn.HuberLoss(reduction="none", delta=0.2)], number, lacks="jet")
divergences = nn.KLDivLoss(reduction="batchmean"), nn.KLDivLoss(reduction="sum", log_target=True)
as_layer(divergences, unit, lacks="jet")
as_layer([nn.L1Loss(), nn.L1Loss(reduction="sum")], number, lacks="jet")
as_layer([nn.MSELoss(reduction="none"), nn.MSELoss()], number, lacks="jet")
as_layer([nn.MarginRankingLoss(0.3), nn.MarginRankingLoss(2.5, reduction="sum")], number, sign)
as_layer([nn.NLLLoss(), nn.NLLLoss(SIX, ignore_index=1, reduction="sum")], label, lacks="jet")
as_layer([nn.PairwiseDistance(2.0, 1e-6, True)], number, autocast="")
rates = nn.PoissonNLLLoss(log_input=False, full=True, eps=0.1, reduction="sum")
as_layer([nn.PoissonNLLLoss(), rates], unit, low=0.1)
as_layer([nn.SmoothL1Loss(beta=0.5), nn.SmoothL1Loss(reduction="none", beta=0.1)], number, lacks="jet")
swapped = nn.TripletMarginLoss(2.0, 3.0, 0.1, swap=True, reduction="none")
as_layer([nn.TripletMarginLoss(), swapped], number, number)
other = nn.TripletMarginWithDistanceLoss(margin=2.0, swap=True, reduction="none")
as_layer([nn.TripletMarginWithDistanceLoss(), other], number, number, autocast="", lacks="rounding")
as_layer([nn.HingeEmbeddingLoss(), nn.HingeEmbeddingLoss(0.3, reduction="sum")], sign)
as_layer([nn.SoftMarginLoss(), nn.SoftMarginLoss(reduction="sum")], sign)
classes = nn.MultiMarginLoss(), nn.MultiMarginLoss(2, 0.7, SIX, reduction="none")
as_layer(classes, label, lacks="C ONNX captured")
as_layer([nn.MultiLabelMarginLoss()], lambda x: np.array([[3, 0, -1, 1, 0, 0]] * 4), lacks="C ONNX captured")
several = nn.MultiLabelSoftMarginLoss(), nn.MultiLabelSoftMarginLoss(SIX, reduction="sum")
as_layer(several, lambda x: fixed(x.bools(4, 6).astype(float)), lacks="jet", autocast="")


@op(lacks="rounding 0-d")
def triplet_margin_with_distance_loss(x):
    yield call(x(4, 6), x(4, 6), x(4, 6))
    yield call(x(4, 6), x(4, 6), x(4, 6), margin=2.0, swap=True, reduction="none")


@loss(inner=1.0)
def CrossEntropyLoss(x):
    yield call(nn.CrossEntropyLoss(ignore_index=2, label_smoothing=0.1), x(4, 6), label(x))
    yield call(nn.CrossEntropyLoss(), x(4, 6), label(x))
    yield call(nn.CrossEntropyLoss(SIX, reduction="none"), x(4, 6), label(x))


@op(lacks="C ONNX jet rounding second", autocast="float32")
def CTCLoss(x):
    probable = np.log(np.full((6, 2, 5), 0.2)) + 0.1 * x(6, 2, 5)
    targets, lengths = np.array([[2, 0, 0], [4, 3, 2]]), (np.array([6, 4]), np.array([3, 2]))
    yield call(nn.CTCLoss(blank=1, zero_infinity=True), probable, targets, *lengths)
