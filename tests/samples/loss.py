"""Samples of `ops/loss`, and of the layers that compute them."""

import numpy as np
from ranvier import nn

from samples.sample import call, fixed, op, refused


def reduced(of_elements):
    """The reference of a loss whose terms and divisors `reference/loss.py` gives."""

    def value(*args, reduction="mean", **settings):
        terms = of_elements(*args, **settings)[0]
        return {"none": terms, "sum": terms.sum(), "mean": terms.mean()}[reduction]

    return value


def of_numbers(low=-1.0, high=1.0, **settings):
    """Losses of numbers and targets of the same shape; settings: those of the last sample."""

    def samples(x):
        yield call(x(3, 7, low=low, high=high), x(3, 7, low=low, high=high))
        yield call(x(3, 7, low=low, high=high), x(3, 7, low=low, high=high), reduction="sum")
        yield call(x(2, 3, low=low, high=high), x(2, 3, low=low, high=high), reduction="none", **settings)
        yield refused(ValueError, "got", x(3, 7, low=low, high=high), x(3, 6, low=low, high=high))
        yield refused(ValueError, "got reduction", x(3), x(3), reduction="max")

    return samples


op(of_numbers(), names="mse", any_size=True)
op(of_numbers(), names="l1", any_size=True)
op(of_numbers(beta=0.5), names="smooth_l1", any_size=True)
op(of_numbers(delta=0.6), names="huber", any_size=True)
op(of_numbers(0.1, 0.9), names="bce", any_size=True)
op(of_numbers(0.1, 0.9), names="bce_with_logits", any_size=True)
op(of_numbers(0.1, 0.9), names="kl_div", any_size=True)
op(of_numbers(0.1, 0.9, log_input=False, full=True), names="poisson_nll", any_size=True)


@op(of="ops.bce_with_logits")
def bce_with_weights(x):
    yield call(
        x(3, 4), x(3, 4, low=0.1, high=0.9), weight=fixed(x(4, low=0.5)), pos_weight=fixed(x(4, low=0.5))
    )


@op
def gaussian_nll(x):
    yield call(x(3, 7), x(3, 7), x(3, 7, low=0.2))
    yield call(x(3, 7), x(3, 7), x(3, 7, low=0.2), full=True, reduction="sum")


@op
def cross_entropy(x):
    yield call(x(4, 6), x.integers(0, 6, 4))
    yield call(x(4, 6), x.integers(0, 6, 4), fixed(x(6, low=0.2)), label_smoothing=0.1)
    yield call(x(4, 6), np.array([1, -100, 2, 5]))
    yield call(x(2, 6, 3), x.integers(0, 6, 2, 3), reduction="none")
    yield call(x(4, 6), x(4, 6, low=0.1), reduction="sum")
    yield refused(IndexError, "[cross_entropy] got", x(4, 6), np.array([0, 1, 2, 6]))


@op
def nll(x):
    yield call(x(4, 6), x.integers(0, 6, 4))
    yield call(x(4, 6), x.integers(0, 6, 4), fixed(x(6, low=0.2)), ignore_index=2)
    yield call(x(2, 6, 3), x.integers(0, 6, 2, 3), reduction="none")


@op
def cosine_embedding(x):
    yield call(x(3, 7), x(3, 7), fixed(x.signs(3)))
    yield call(x(3, 7), x(3, 7), fixed(x.signs(3)), margin=0.3, reduction="none")


@op
def margin_ranking(x):
    yield call(x(3, 7), x(3, 7), fixed(x.signs(3, 7)))
    yield call(x(5), x(5), fixed(x.signs(5)), 0.3, "none")


@op
def triplet_margin(x):
    yield call(x(3, 7), x(3, 7), x(3, 7))
    yield call(x(3, 7), x(3, 7), x(3, 7), 0.5, swap=True, reduction="none")


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
