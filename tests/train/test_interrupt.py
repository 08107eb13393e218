"""Ctrl-C: obeyed between two steps, a second one at once; the history is kept, and the message says so."""

import os
import signal

import pytest
import ranvier as rv
from ranvier.train import checkpoints
from support.threads import in_thread
from support.training import X, Y, assert_equal_weights, classifier, trainer_of


class Press(rv.Callback):
    """Sends the process a SIGINT during a step of the run, and is notified of what follows."""

    def __init__(self, batch, times=1):
        self.batch, self.times, self.heard = batch, times, []
        self.seen = 0

    def on_batch_begin(self, batch):
        if self.seen == self.batch:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)
        self.seen += 1

    def on_batch_end(self, batch, logs):
        self.heard.append(batch)

    def on_interrupt(self):
        self.heard.append("interrupt")

    def on_train_end(self):
        self.heard.append("end")


def fit(*callbacks, epochs=3, **arguments):
    trainer = trainer_of(classifier())
    history = trainer.fit(X, Y, epochs=epochs, batch_size=10, callbacks=callbacks, **arguments)
    assert history is trainer.history
    return trainer


def test_the_step_is_finished_and_the_history_kept(capsys):
    press = Press(6)
    trainer = fit(press)
    assert trainer.interrupted
    assert press.heard == [0, 1, 2, 3, 0, 1, 2, "interrupt", "end"]
    assert trainer.history.epochs == 1
    said = "\n[Trainer.fit] interrupted after 1 epoch and 3 batches; the history is kept\n"
    assert capsys.readouterr().err == said
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert trainer.model.training
    trainer.fit(X, Y, epochs=1)
    assert not trainer.interrupted
    assert trainer.history.epochs == 2


def test_a_second_one_does_not_wait(capsys):
    press = Press(6, times=2)
    trainer = fit(press)
    assert press.heard == [0, 1, 2, 3, 0, 1, "end"]
    assert trainer.interrupted
    assert "interrupted after 1 epoch and 2 batches" in capsys.readouterr().err


def test_best_weights_come_back_but_not_into_the_checkpoint(tmp_path):
    def stopping():
        return rv.EarlyStopping(patience=9)

    whole = fit(stopping())
    fit(Press(9), stopping(), rv.Checkpoint(tmp_path))
    resumed = fit(stopping(), rv.Checkpoint(tmp_path), resume=tmp_path)
    assert_equal_weights(resumed.model, whole.model)


@pytest.mark.parametrize("epoch", [1, 2])
def test_after_the_last_batch_the_epoch_is_completed(epoch, capsys):
    trainer = fit(Press(4 * epoch + 3))
    assert trainer.interrupted
    assert (trainer.epoch, trainer.batch, trainer.history.epochs) == (epoch + 1, 0, epoch + 1)
    assert f"interrupted after {epoch + 1} epochs; the" in capsys.readouterr().err


def test_a_validation_is_not_waited_for(capsys):
    trainer = fit(Press(7), validation_data=(X, Y))
    assert trainer.history.epochs == 1
    assert "interrupted after 1 epoch and 4 batches; the" in capsys.readouterr().err


def test_handlers_of_others_are_left_alone():
    heard = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append("theirs"))
    try:
        trainer = fit(Press(5))
    finally:
        signal.signal(signal.SIGINT, before)
    assert (heard, trainer.history.epochs, trainer.interrupted) == (["theirs"], 3, False)


def test_in_another_thread():
    assert in_thread(fit).history.epochs == 3


@pytest.mark.parametrize(
    ("when", "epoch", "batch"),
    [("batch_begin", 0, 1), ("batch_end", 0, 1), ("epoch_begin", 0, 1), ("epoch_end", 1, 0)],
)
def test_a_checkpoint_follows_the_keyboard_interrupt_of_a_callback(when, epoch, batch, tmp_path):
    class Raise(rv.Callback):
        pass

    def interrupt(self, *args):
        raise KeyboardInterrupt

    setattr(Raise, f"on_{when}", interrupt)
    heard = Press(99)
    whole, stopped = fit(), fit(Raise(), heard, rv.Checkpoint(tmp_path))
    assert (stopped.interrupted, stopped.epoch) == (True, epoch)
    assert heard.heard == [*range(4 if epoch else 1), "interrupt", "end"]
    assert checkpoints.listed(tmp_path)[0].name == f"checkpoint-{epoch:05d}-{batch:06d}.safetensors"
    resumed = fit(rv.Checkpoint(tmp_path), resume=tmp_path)
    assert_equal_weights(resumed.model, whole.model)
    assert dict(resumed.history) == dict(whole.history)


def test_a_second_keyboard_interrupt_of_callbacks_does_not_wait(tmp_path):
    class Raise(rv.Callback):
        def on_batch_end(self, batch, logs):
            raise KeyboardInterrupt

    trainer = fit(Raise(), Raise(), rv.Checkpoint(tmp_path))
    assert (trainer.interrupted, checkpoints.listed(tmp_path)) == (True, [])
