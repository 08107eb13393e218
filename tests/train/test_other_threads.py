"""While a fit runs, another thread may not switch the mode of its model.

`Inside(call)` is a callback that makes a call in the middle of a fit, `outcome` makes it in another thread.
"""

import contextlib
import copy
import os
import threading

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn.modes import evaluating
from support.threads import in_thread
from support.training import X, Y, classifier, trainer_of

CALLS = {
    "Trainer.predict": lambda trainer: trainer.predict(X),
    "Trainer.predict_proba": lambda trainer: trainer.predict_proba(X),
    "Trainer.evaluate": lambda trainer: trainer.evaluate(X, Y),
    "Sequential": lambda trainer: rv.explore.diagnose(trainer.model, data=(X, Y), loss=nn.CrossEntropyLoss()),
}


def outcome(call, *args):
    """The result or error of the call in another thread."""
    try:
        return in_thread(call, *args)
    except Exception as error:
        return error


class Inside(rv.Callback):
    """Calls a function after the first batch."""

    def __init__(self, call):
        self.call, self.found = call, []

    def on_batch_end(self, batch, logs):
        if not self.found:
            self.found.append(self.call(self.trainer))


@pytest.mark.parametrize("name", CALLS)
def test_refused_while_a_fit_runs(name):
    trainer = trainer_of(classifier())
    inside = Inside(lambda trainer: outcome(CALLS[name], trainer))
    trainer.fit(X, Y, epochs=2, callbacks=[inside])
    (error,) = inside.found
    assert isinstance(error, RuntimeError)
    assert f"[{name}] a fit of this model is running in another thread" in str(error)
    assert not isinstance(outcome(CALLS[name], trainer), Exception)


def test_export_is_refused(tmp_path):
    pytest.importorskip("onnx")
    export = Inside(lambda trainer: outcome(rv.onnx.export, trainer.model, X, tmp_path / "model.onnx"))
    trainer_of(classifier()).fit(X, Y, epochs=1, callbacks=[export])
    assert "[onnx.export] a fit of this model is running in another thread" in str(export.found[0])


@pytest.mark.parametrize("name", ["Trainer.predict", "Trainer.evaluate"])
def test_the_fit_is_as_without_them(name):
    def run(*callbacks):
        rv.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2))
        trainer = trainer_of(model)
        history = trainer.fit(X, Y % 2, epochs=2, callbacks=callbacks)
        return history["loss"], model.training

    assert run(Inside(lambda trainer: outcome(CALLS[name], trainer))) == run(Inside(lambda trainer: None))


def test_from_a_callback_or_with_a_copy():
    def both(trainer):
        mine = trainer.predict(X)
        model = copy.deepcopy(trainer.model)
        return mine, outcome(trainer_of(model).predict, X)

    inside = Inside(both)
    trainer = trainer_of(classifier())
    trainer.fit(X, Y, epochs=1, callbacks=[inside])
    np.testing.assert_array_equal(*inside.found[0])
    assert trainer.model.training


def test_a_fit_is_refused_while_another_thread_evaluates():
    trainer = trainer_of(classifier())
    with evaluating(trainer.model):
        error = outcome(lambda: trainer.fit(X, Y, epochs=1))
    assert isinstance(error, RuntimeError)
    assert "another thread predicts or evaluates" in str(error)
    assert trainer.model.training
    trainer.fit(X, Y, epochs=1)


def test_two_trainers_of_one_model():
    model = classifier()
    inside = Inside(lambda trainer: outcome(lambda: trainer_of(model).fit(X, Y, epochs=1)))
    trainer_of(model).fit(X, Y, epochs=1, callbacks=[inside])
    assert "a fit of this model is running in another thread" in str(inside.found[0])


def test_evaluations_side_by_side():
    """The first to begin must not end the mode of the second."""
    model, entered, left = nn.Dropout(0.5), threading.Event(), threading.Event()
    seen = []

    def second():
        with evaluating(model):
            entered.set()
            left.wait(60)
            seen.append(model.training)

    thread = threading.Thread(target=second)
    with evaluating(model):
        thread.start()
        assert entered.wait(60)
    left.set()
    thread.join()
    assert seen == [False]
    assert model.training


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_may_predict():
    trainer = trainer_of(classifier())

    def child_predicts(trainer):
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                trainer.evaluate(X, Y)
                os._exit(0)
            os._exit(1)
        return os.waitpid(pid, 0)[1]

    inside = Inside(lambda trainer: outcome(child_predicts, trainer))
    trainer.fit(X, Y, epochs=1, callbacks=[inside])
    assert inside.found == [0]
