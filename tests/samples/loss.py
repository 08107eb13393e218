"""Samples of `ops/loss`, and of the layers that compute them."""

import numpy as np
from ranvier import nn
from reference import class_loss, distance
from reference import loss as reference

from samples.sample import call, fixed, op, refused


def terms(x, *others, **settings):
    return max(x.size, 1)


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
        yield refused(ValueError, "got", pair(3, x.n)[0], pair(3, 6)[1])
        yield refused(ValueError, "got reduction", *pair(3), reduction="max")

    return samples


def of_losses(name, *limits_and_settings):
    known = {"terms": terms, "reference": getattr(reference, name)}
    op(of_elements(*limits_and_settings), names=name, **known)


of_losses("mse", -3, 3, -2, 2)
of_losses("l1", -3, 3, 4, 6)  # apart, as it has a kink where they are equal
of_losses("smooth_l1", -3, 3, -2, 2, {"beta": 0.5}, {"beta": 2.0})
of_losses("huber", -3, 3, -2, 2, {"delta": 0.5}, {"delta": 2.0})
of_losses("bce", 0.05, 0.95, 0, 1, {"weight": fixed(np.array(3.0))})
of_losses("bce_with_logits", -3, 3, 0, 1, {"pos_weight": fixed(np.array([3.0]))})
of_losses("kl_div", -4, 0, 0.05, 1)
of_losses("poisson_nll", 0.1, 2, 1.1, 5, {"full": True}, {"log_input": False, "full": True, "eps": 1e-3})


@op(of="nn.functional.kl_div", terms=terms, reference=reference.kl_div)
def kl_div_of_logarithms(x):
    yield call(x(3, 5, low=-4, high=0), x(3, 5, low=-3, high=0), reduction="batchmean", log_target=True)
    yield call(x(3, 5, low=-4, high=0), x(3, 5, low=-3, high=0), log_target=True, reduction="none")
    yield call(x(4, low=-4, high=0), fixed(np.array([0.0, 0.3, 0.0, 0.7])), reduction="batchmean")


WEIGHTS = ((), (1,), (7,), (5, 7), (3, 1, 7), (3, 5, 1), (3, 5, 7))  # shapes that broadcast to (3, 5, 7)


@op(of="ops.bce", reference=reference.bce, terms=terms)
def bce_with_weights(x):
    for shape in WEIGHTS:
        weight = fixed(x(*shape, low=0.5, high=2.0))
        yield call(x(3, 5, 7, low=0.05, high=0.95), x(3, 5, 7, low=0.0), weight, reduction="sum")


@op(of="ops.bce_with_logits", reference=reference.bce_with_logits, terms=terms)
def bce_of_logits_with_weights(x):
    for shape in WEIGHTS:
        given = {name: fixed(x(*shape, low=0.5, high=4.0)) for name in ("weight", "pos_weight")}
        yield call(x(3, 5, 7, low=-3, high=3), x(3, 5, 7, low=0.0), reduction="none", **given)


@op(reference=reference.gaussian_nll, terms=terms)
def gaussian_nll(x):
    yield call(x(3, x.n), x(3, x.n), x(3, x.n, low=0.6, high=3.0))
    yield call(x(3, x.n), x(3, x.n), x(3, x.n, low=0.6, high=3.0), full=True, reduction="sum")
    shape = x.shape(least=1)
    yield call(x(*shape), x(*shape), x(*shape, low=0.6, high=3.0), eps=0.5, reduction="none")


@op(reference=class_loss.cross_entropy, terms=terms, inner=1.0)
def cross_entropy(x):
    yield call(x(5, x.n, low=-3, high=3), x.integers(0, 1, 5))
    yield call(x(4, 6), x.integers(0, 6, 4), weight=fixed(x(6, low=0.2)), label_smoothing=0.1)
    yield call(x(4, 6), np.array([1, -100, 2, 5]), ignore_index=-100)
    yield call(x(4, 6), np.array([1, 2, 2, 5]), ignore_index=2, label_smoothing=1.0)
    n, c, rest = x.size(1, 7), x.size(1, 40), x.shape(most=2, high=4)
    rest = tuple(max(size, 1) for size in rest)
    yield call(x(n, c, *rest, low=-3, high=3), x.integers(0, c, n, *rest, dtype=np.int32), reduction="none")
    yield call(x(n, c, *rest), x(n, c, *rest, low=0.1), reduction="sum", label_smoothing=0.3)
    yield call(x(4, 6), x(4, 6, low=0.0), weight=fixed(x(6, low=0.2)))
    yield call(x(0, 3), x.integers(0, 3, 0), reduction="sum")
    yield refused(IndexError, "[cross_entropy] got", x(4, 6), np.array([0, 1, 2, 6]))


@op(reference=class_loss.nll, terms=terms)
def nll(x):
    yield call(x(4, 6), x.integers(0, 6, 4))
    yield call(x(4, 6), np.array([1, 2, 0, 5]), weight=fixed(x(6, low=0.2)), ignore_index=2)
    n, c, rest = x.size(1, 7), x.size(1, 40), tuple(max(size, 1) for size in x.shape(most=2, high=4))
    yield call(x(n, c, *rest), x.integers(0, c, n, *rest), reduction="none")
    yield call(x(0, 3), x.integers(0, 3, 0), reduction="sum")


def margin_of_cosines(x1, x2, target, margin=0.0, reduction="mean"):
    """The norms' bound is not PyTorch's (1e-12 added to the squares), which differs below 1e-5 only."""
    cosine = distance.cosine_similarity(x1, x2, 1, 1e-6)
    return reference.cosine_margin(cosine, target, reduction=reduction, margin=margin)


@op(reference=margin_of_cosines, terms=terms, inner=1.0)
def cosine_embedding(x):
    yield call(x(4, 7), x(4, 7), fixed(np.array([1.0, -1.0, 1.0, 1.0])))
    yield call(x(3, 7), x(3, 7), fixed(x.signs(3)), margin=0.3, reduction="none")
    yield call(x(3, 7), x(3, 7), fixed(x.signs(3)), 0.3, "sum")


@op(reference=reference.margin_ranking, terms=terms)
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


@op(reference=margin_of_distances, terms=terms, inner=1.0)
def triplet_margin(x):
    yield call(x(3, 7), x(3, 7), x(3, 7), margin=3.0)
    yield call(x(3, 7), x(3, 7), x(3, 7), margin=3.0, swap=True, p=3.0, reduction="none")
    shape = x.size(1, 30), x.size(1, 30)
    yield call(x(*shape), x(*shape), x(*shape), margin=9.0, reduction="sum")


@op
def ctc_loss(x):
    probable = np.log(np.full((6, 2, 5), 0.2)) + 0.1 * x(6, 2, 5)
    yield call(probable, np.array([[1, 2, 0], [3, 3, 0]]), np.array([6, 5]), np.array([2, 2]))
    yield call(probable, np.array([[1, 2], [3, 4]]), np.array([6, 6]), np.array([2, 2]), 0, "none", True)


@op(kinks=(1.0, 0.5))
def hinge_embedding_loss(x):
    yield call(x(3, 7), fixed(x.signs(3, 7)))
    yield call(x(3, 7), fixed(x.signs(3, 7)), margin=0.5, reduction="none")


@op
def soft_margin_loss(x):
    yield call(x(3, 7), fixed(x.signs(3, 7)))
    yield call(x(3, 7), fixed(x.signs(3, 7)), reduction="sum")


@op
def multi_margin_loss(x):
    yield call(x(4, 6), x.integers(0, 6, 4))
    yield call(x(4, 6), x.integers(0, 6, 4), p=2, margin=0.7, reduction="none")


@op
def multilabel_margin_loss(x):
    yield call(x(2, 4), np.array([[3, 0, -1, 1], [1, -1, 0, 0]]))


@op
def multilabel_soft_margin_loss(x):
    yield call(x(4, 6), fixed(x.bools(4, 6).astype(float)))
    yield call(x(4, 6), fixed(x.bools(4, 6).astype(float)), reduction="none")


def as_layer(name, loss, *targets, low=-1.0, high=1.0):
    """A layer of a loss, with targets as `targets` draw them."""

    def samples(x):
        yield call(loss, x(4, 6, low=low, high=high), *(target(x) for target in targets))

    op(samples, names=name)


def number(x):
    return x(4, 6)


def unit(x):
    return x(4, 6, low=0.05, high=0.95)


def label(x):
    return x.integers(0, 6, 4)


def sign(x):
    return fixed(x.signs(4, 6))


as_layer("BCELoss", nn.BCELoss(), unit, low=0.05, high=0.95)
as_layer("BCEWithLogitsLoss", nn.BCEWithLogitsLoss(reduction="sum"), unit)
as_layer("CosineSimilarity", nn.CosineSimilarity(), number)
as_layer("CosineEmbeddingLoss", nn.CosineEmbeddingLoss(), number, lambda x: fixed(x.signs(4)))
as_layer("CrossEntropyLoss", nn.CrossEntropyLoss(ignore_index=2, label_smoothing=0.1), label)
as_layer("GaussianNLLLoss", nn.GaussianNLLLoss(), number, unit)
as_layer("HuberLoss", nn.HuberLoss(delta=0.6), number)
as_layer("KLDivLoss", nn.KLDivLoss(reduction="batchmean"), unit)
as_layer("L1Loss", nn.L1Loss(), number)
as_layer("MSELoss", nn.MSELoss(reduction="none"), number)
as_layer("MarginRankingLoss", nn.MarginRankingLoss(0.3), number, sign)
as_layer("NLLLoss", nn.NLLLoss(), label)
as_layer("PairwiseDistance", nn.PairwiseDistance(2.0, 1e-6, True), number)
as_layer("PoissonNLLLoss", nn.PoissonNLLLoss(), unit)
as_layer("SmoothL1Loss", nn.SmoothL1Loss(beta=0.5), number)
as_layer("TripletMarginLoss", nn.TripletMarginLoss(), number, number)


@op
def CTCLoss(x):
    probable = np.log(np.full((6, 2, 5), 0.2)) + 0.1 * x(6, 2, 5)
    targets, lengths = np.array([[2, 0, 0], [4, 3, 2]]), (np.array([6, 4]), np.array([3, 2]))
    yield call(nn.CTCLoss(blank=1, zero_infinity=True), probable, targets, *lengths)
