"""Schedules in a training run: per epoch, per batch, on a plateau, and on again from a checkpoint."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.optim import lr_scheduler

EPOCHS, BATCHES = 6, 4
RNG = np.random.default_rng(0)
X = RNG.standard_normal((BATCHES * 8, 3)).astype(np.float32)
Y = RNG.integers(0, 2, BATCHES * 8)


def warm_up(optimizer):
    parts = [
        lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5),
        lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * BATCHES - 5),
    ]
    return lr_scheduler.SequentialLR(optimizer, parts, [5])


# name -> (schedule of an optimizer, what it is stepped by)
CASES = {
    "per epoch": (lambda o: lr_scheduler.MultiStepLR(o, [2, 4], 0.5), "epoch"),
    "one cycle": (lambda o: lr_scheduler.OneCycleLR(o, 0.1, EPOCHS * BATCHES), "batch"),
    "warm-up": (warm_up, "batch"),
    "plateau": (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=0, threshold=0.5), "epoch"),
}


class Rates(rv.Callback):
    """The learning rate of each batch."""

    def __init__(self):
        self.rates = []

    def on_batch_begin(self, batch):
        self.rates.append(self.trainer.optimizer.param_groups[0]["lr"])


def parts(name):
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    optimizer = optim.NAdam(model.parameters(), lr=0.02)
    make, per = CASES[name]
    return rv.Trainer(model, nn.CrossEntropyLoss(), optimizer), rv.train.Schedule(make(optimizer), per=per)


def fit(trainer, *callbacks, **settings):
    trainer.fit(X, Y, epochs=EPOCHS, batch_size=8, callbacks=callbacks, **settings)
    return [p._array.tobytes() for p in trainer.model.parameters()]


@pytest.mark.parametrize("name", ["per epoch", "one cycle", "warm-up"])
def test_rates_are_the_schedules(name):
    trainer, schedule = parts(name)
    rates = Rates()
    fit(trainer, schedule, rates)
    make, per = CASES[name]
    expected, plain = [], make(optim.NAdam([rv.ones(1)], lr=0.02))
    for batch in range(EPOCHS * BATCHES):
        expected.append(plain.get_last_lr()[0])
        if per == "batch" or batch % BATCHES == BATCHES - 1:
            plain.step()
    assert rates.rates == expected


def test_plateau_watches_the_loss():
    trainer, schedule = parts("plateau")
    rates = Rates()
    fit(trainer, schedule, rates)
    # No epoch halves the loss, as the threshold requires: the rate falls after each but the first.
    assert rates.rates[::BATCHES] == [0.02, 0.02, *(0.02 * 0.5**i for i in range(1, EPOCHS - 1))]
