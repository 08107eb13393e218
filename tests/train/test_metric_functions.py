"""Metrics that are functions: which receive labels, which probabilities, and in which form."""

import functools

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.training import X, Y, classifier

METRICS = rv.metrics
BINARY = {
    "two outputs": (lambda: classifier(), "cross_entropy"),
    "one output": (lambda: classifier(out=1), "bce_with_logits"),
}


def kept(scored=None, second="y_pred", name="kept", **more):
    """A metric that keeps what it receives, with this name of its second parameter."""
    seen = {}
    space = {"seen": seen}
    exec(f"def {name}(y_true, {second}): seen['answers'] = {second}; return 0.5", space)
    metric = space[name]
    if scored is not None:
        metric.scored = scored
    vars(metric).update(more)
    return metric, seen


def received(metric, seen, of="two outputs"):
    make, loss = BINARY[of]
    trainer = rv.Trainer(make(), loss, "adam", metrics=[metric])
    trainer.fit(X, Y, epochs=1)
    trainer.evaluate(X, Y)
    return np.asarray(seen["answers"]), trainer


SECONDS = ["y_score", "y_prob", "y_proba", "y_probas", "y_pred_proba", "probas_pred", "scores"]


@pytest.mark.parametrize("of", BINARY)
@pytest.mark.parametrize("second", SECONDS)
def test_a_function_of_scores_gets_the_probability_of_the_second_class(second, of):
    answers, trainer = received(*kept(second=second), of)
    expected = trainer.predict_proba(X)
    expected = expected[:, 1] if of == "two outputs" else expected.reshape(-1)
    np.testing.assert_array_equal(answers, expected)


WAYS = {
    "log_loss": kept(name="log_loss"),
    "d2_log_loss_score": kept(name="d2_log_loss_score"),
    "needs_proba": kept(needs_proba=True),
    "needs_threshold": kept(needs_threshold=True),
    "positive": kept("positive"),
}


@pytest.mark.parametrize("way", WAYS)
def test_other_ways_to_say_it(way):
    answers, trainer = received(*WAYS[way])
    np.testing.assert_array_equal(answers, trainer.predict_proba(X)[:, 1])


def test_probabilities_are_the_result_of_predict_proba():
    answers, trainer = received(*kept("probabilities"))
    np.testing.assert_array_equal(answers, trainer.predict_proba(X))


@pytest.mark.parametrize("second", ["y_pred", "labels", "underscored", "y"])
def test_a_function_of_anything_else_gets_labels(second):
    answers, trainer = received(*kept(second=second))
    np.testing.assert_array_equal(answers, trainer.predict(X))


def test_labels_can_be_asked_for():
    answers, trainer = received(*kept("labels", second="y_score"))
    np.testing.assert_array_equal(answers, trainer.predict(X))


def test_more_classes_and_a_partial_function():
    metric, seen = kept(second="y_score")
    partial = functools.partial(metric)
    partial.__name__ = "partial"
    trainer = rv.Trainer(classifier(out=3), "cross_entropy", "adam", metrics=[partial])
    trainer.fit(X, Y + (X[:, 1] > 1), epochs=1)
    trainer.evaluate(X, Y)
    np.testing.assert_array_equal(seen["answers"], trainer.predict_proba(X))


OURS = {
    "roc_auc_score": (METRICS.roc_auc_score, "roc_auc"),
    "log_loss": (METRICS.log_loss, "log_loss"),
    "top_k_accuracy_score": (METRICS.top_k_accuracy_score, "top_2_accuracy"),
    "accuracy_score": (METRICS.accuracy_score, "accuracy"),
    "f1_score": (METRICS.f1_score, "f1"),
}


@pytest.mark.parametrize("of", BINARY)
@pytest.mark.parametrize("name", OURS)
def test_functions_of_the_library_give_what_their_names_give(name, of):
    function, named = OURS[name]
    make, loss = BINARY[of]
    both = []
    for metric in (function, named):
        rv.manual_seed(0)
        trainer = rv.Trainer(make(), loss, "adam", metrics=[metric])
        history = trainer.fit(X, Y, epochs=2, validation_data=(X, Y))
        measured = next(iter(trainer.metrics))
        both.append((history[measured], history[f"val_{measured}"]))
    assert both[0] == both[1]


def test_every_metric_of_the_library_says_what_it_receives():
    from ranvier.metrics.named import direction, scored

    functions = [getattr(METRICS, name) for name in METRICS.__all__ if name.endswith(("_score", "_loss"))]
    takes = {function.__name__: scored(function) for function in functions}
    of_scores = {name for name, what in takes.items() if what == "probabilities"}
    assert of_scores == {"roc_auc_score", "log_loss", "top_k_accuracy_score"}
    assert all(direction(name) for name in [*METRICS.METRICS, *takes])


class Scorer:
    """What scikit-learn's make_scorer gives, as far as a Trainer reads it."""

    def __init__(self, function, sign=1, response="predict", **settings):
        self._score_func = function
        self._sign = sign
        self._response_method = response
        self._kwargs = settings

    def __call__(self, estimator, x, y):
        raise AssertionError("a Trainer is no estimator")


def test_a_scorer():
    def brier_score_loss(y_true, y_proba, scale=1.0):
        return scale * float(np.mean((y_proba - y_true) ** 2))

    scorer = Scorer(brier_score_loss, -1, "predict_proba", scale=2.0)
    trainer = rv.Trainer(classifier(), "cross_entropy", "adam", metrics=[scorer, Scorer(METRICS.f1_score)])
    trainer.fit(X, Y, epochs=1, callbacks=[rv.EarlyStopping("neg_brier_score_loss")])
    measured = trainer.evaluate(X, Y)
    expected = -2 * np.mean((trainer.predict_proba(X)[:, 1] - Y) ** 2)
    assert measured["neg_brier_score_loss"] == pytest.approx(expected, rel=1e-6)
    assert measured["f1_score"] == METRICS.f1_score(Y, trainer.predict(X))


def test_what_is_refused():
    def hinge_loss(y_true, pred_decision):
        return 0.0

    with pytest.raises(ValueError, match=r"\[Trainer\] got metric hinge_loss, which takes decision values"):
        rv.Trainer(classifier(), "cross_entropy", "adam", metrics=[hinge_loss])
    with pytest.raises(ValueError, match=r"\[Trainer\] got a metric with scored 'proba'; expected 'labels'"):
        rv.Trainer(classifier(), "cross_entropy", "adam", metrics=[kept("proba")[0]])


def test_an_object_that_cannot_be_hashed():
    class Metric:
        __hash__ = None
        __name__ = "own"

        def __call__(self, y_true, y_score):
            self.answers = y_score
            return 0.0

    metric = Metric()
    trainer = rv.Trainer(classifier(), nn.CrossEntropyLoss(), "adam", metrics=[metric])
    trainer.fit(X, Y, epochs=1)
    assert metric.answers.dtype == np.float32
