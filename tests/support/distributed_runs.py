"""Small runs of a distributed Trainer, the same program on each number of ranks."""

import hashlib
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ranvier as rv
from ranvier import nn
from ranvier.data import DataLoader, TensorDataset
from ranvier.data.augment import RandomHorizontalFlip
from ranvier.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from support.ranks import tell

SHAPE = (1, 8, 8)


def data(samples: int = 101) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((samples, *SHAPE)).astype(np.float32), rng.integers(0, 4, samples)


def cnn() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3)),
        *(nn.Linear(36, 16), nn.BatchNorm1d(16, momentum=None), nn.ReLU(), nn.Linear(16, 4)),
    )


class Forked(nn.Module):
    """One weight used twice, one parameter never used, one only by some samples, and a constant buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.shared, self.last = nn.Linear(64, 8), nn.Linear(8, 8), nn.Linear(8, 4)
        self.unused, self.some = nn.Linear(2, 2), nn.Linear(8, 8)
        self.register_buffer("scale", rv.full((8,), 0.7))

    def forward(self, x: Any) -> Any:
        x = self.first(x.reshape(len(x), -1)) * self.scale
        x = self.shared(self.shared(x).tanh())
        return self.last(self.some(x) if len(x) % 2 else x)


class Counting(nn.Module):
    """A forward pass changes integer buffers above 2^24 and 2^53, a bool and a float64."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.norm = nn.Linear(64, 4), nn.BatchNorm1d(4)
        self.norm.num_batches_tracked.fill_(2**24 + 1)
        self.register_buffer("rows", rv.tensor(np.array([2**24 + 1, 2**53 + 1, 2**62 + 1])))
        self.register_buffer("small", rv.tensor(np.array([2**24 + 1], np.int32)))
        self.register_buffer("used", rv.tensor(np.zeros(2, bool)))
        self.register_buffer("wide", rv.tensor(np.array([1 / 3])))

    def forward(self, x: Any) -> Any:
        if self.training:
            with rv.no_grad():
                self.rows += len(x)
                self.small += 3
                self.used[0] = True
                self.wide += 1e-12
        return self.norm(self.last(x.reshape(len(x), -1)))


def weights_of(model: nn.Module) -> str:
    values = [value.numpy() for value in model.state_dict().values()]
    return hashlib.sha256(b"".join(np.ascontiguousarray(v).tobytes() for v in values)).hexdigest()


def told(trainer: Any, history: Any) -> dict[str, Any]:
    return {
        "weights": weights_of(trainer.model),
        "history": {name: list(map(float, column)) for name, column in history.items()},
        "updates": trainer.updates,
    }


def trained(
    model: nn.Module, *x: Any, epochs: int = 2, fit: dict[str, Any] | None = None, **settings: Any
) -> Any:
    settings = {"loss": "cross_entropy", "optimizer": "adam", "distributed": True, **settings}
    trainer = rv.Trainer(model, **settings)
    history = trainer.fit(*x, epochs=epochs, verbose=False, **(fit or {}))
    return told(trainer, history)


def network_with_everything(**settings: Any) -> Any:
    x, y = data()
    rv.manual_seed(1)
    more = {"metrics": ["accuracy", "log_loss"], "l2": 1e-4, "clip_grad_norm": 0.5, **settings}
    return trained(cnn(), x, y, fit={"batch_size": 34, "validation_data": (x[:40], y[:40])}, **more)


def weighted_and_accumulated() -> Any:
    x, y = data()
    rv.manual_seed(2)
    weights = np.random.default_rng(1).random(len(x)) * (np.arange(len(x)) > 20)
    fit = {"batch_size": 16, "sample_weight": weights, "class_weight": "balanced"}
    return trained(cnn(), x, y, accumulate=3, fit=fit)


def forked() -> Any:
    x, y = data()
    rv.manual_seed(3)
    optimizer_decays = {"optimizer": "adamw", "lr": 0.01}
    return trained(Forked(), x, y, fit={"batch_size": 17, "shuffle": False}, **optimizer_decays)


def loader() -> Any:
    x, y = data()
    rv.manual_seed(4)
    batches = DataLoader(TensorDataset(x, y), batch_size=33, shuffle=True, augment=RandomHorizontalFlip())
    return trained(cnn(), batches, metrics=["accuracy"])


def double_and_summed() -> Any:
    x, y = data(3)  # fewer samples than parts
    rv.manual_seed(5)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4, dtype=np.float64))
    return trained(model, x.astype(np.float64), y, loss=nn.CrossEntropyLoss(reduction="sum"), optimizer="sgd")


def by_row() -> Any:
    """The parts of a rank go through the layers together, but in the last batch, which has fewer than 8."""
    x, y = data(108)
    rv.manual_seed(11)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 700), nn.ReLU(), nn.Linear(700, 4))
    settings = {"metrics": ["accuracy"], "l2": 1e-4, "clip_grad_norm": 0.5}
    return trained(model, x, y, fit={"batch_size": 50}, **settings)


def in_the_core(**settings: Any) -> Any:
    """Most batches of an epoch are one call of the core, with a penalty, but the last, which is smaller."""
    x, y = data(72)
    rv.manual_seed(12)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 300), nn.Tanh(), nn.Linear(300, 4))
    # Checks, which are rarer with time, leave several batches between them from epoch 7 on.
    shuffled = trained(model, x, y, epochs=12, fit={"batch_size": 16}, l2=1e-4, **settings)
    in_order = trained(model, x, y, epochs=3, fit={"batch_size": 18, "shuffle": False}, **settings)
    return [shuffled, in_order, rv.rand(3).tolist()]


def frozen_in_the_middle() -> Any:
    x, y = data(40)
    rv.manual_seed(6)
    model = cnn()

    def freeze(epoch: int) -> None:
        model[0].weight.requires_grad = epoch == 0

    callback = rv.LambdaCallback(on_epoch_begin=freeze)
    stop = rv.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(callback.trainer, "stop_training", epoch == 2)
    )
    return trained(model, x, y, epochs=9, fit={"callbacks": [callback, stop]})


def with_callbacks() -> Any:
    x, y = data(150)
    rv.manual_seed(8)
    model = cnn()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    trainer = rv.Trainer(model, "cross_entropy", "adam", lr=0.05, l1=1e-4, distributed=True, shards=4)
    schedule = rv.optim.lr_scheduler.CosineAnnealingLR(trainer.optimizer, 30)
    callbacks = [
        rv.LambdaCallback(on_batch_end=lambda batch, logs: average.update_parameters(model)),
        rv.Schedule(schedule, per="batch"),
        rv.EarlyStopping("val_loss", patience=1),
    ]
    weights = {"class_weight": {1: 2.0, 2: 0.5}, "validation_split": 0.3}
    history = trainer.fit(x, y, epochs=6, callbacks=callbacks, verbose=False, **weights)
    again = trainer.fit(x, y, epochs=1, batch_size=50, verbose=False)
    return [told(trainer, history), told(trainer, again), weights_of(average), trainer.evaluate(x, y)]


def counting() -> Any:
    x, y = data(48)
    rv.manual_seed(9)
    model = Counting()
    settings = {"loss": "cross_entropy", "optimizer": "adam", "compile": False}
    return [trained(model, x, y, epochs=1, fit={"batch_size": 16}, **settings), numbers_of(model)]


class Synchronised(nn.Sequential):
    """Statistics of the whole batch and of each part, and numbers that are drawn between them."""

    def __init__(self) -> None:
        stage = [nn.Conv2d(1, 4, 3), nn.SyncBatchNorm(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
        hidden = [nn.Dropout(0.3), nn.Linear(36, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2)]
        last = [nn.Linear(16, 8), nn.SyncBatchNorm(8, momentum=None, affine=False), nn.Linear(8, 4)]
        super().__init__(*stage, *hidden, *last)


def synchronised() -> Any:
    """The last batches have parts on one or two ranks only."""
    x, y = data(104)
    rv.manual_seed(10)
    settings = {"metrics": ["accuracy"], "compile": False}
    few = trained(Synchronised(), x[:56], y[:56], fit={"batch_size": 50}, **settings)
    last = trained(Synchronised(), x, y, fit={"batch_size": 34}, accumulate=2, **settings)
    return [few, last]


def numbers_of(model: Any) -> list[list[Any]]:
    names = ("rows", "small", "used", "wide", "norm.num_batches_tracked")
    return [model.state_dict()[name].numpy().reshape(-1).tolist() for name in names]


class Log(rv.Callback):
    """Writes the history after each epoch, on rank 0."""

    everywhere = False

    def __init__(self, path: str) -> None:
        self.path = path

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        with open(self.path, "a" if epoch else "w") as file:
            print(epoch, logs, file=file)


def checkpointed(folder: str, stop: str) -> Any:
    """A run with checkpoints, resumed where there are some; it ends as `stop` says in its eleventh batch.

    The process also gives its result to `tell`, if it is one of several.
    """
    x, y = data()
    rv.manual_seed(7 + rv.distributed.rank())  # rank 0's seed and weights count
    trainer = rv.Trainer(cnn(), "cross_entropy", "adam", metrics=["accuracy"], distributed=True)

    class Stop(rv.Callback):
        calls = 0

        def on_batch_end(self, batch: int, logs: Any) -> None:
            self.calls += 1
            if self.calls == 11 and stop == "killed" and rv.distributed.rank() == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.calls == 11 and stop == "raised":
                raise OSError(f"the disk of rank {rv.distributed.rank()}")

    hook = Stop()
    callbacks = [hook, rv.Checkpoint(folder, every_batches=3), Log(f"{folder}.txt")]
    settings = {"epochs": 3, "batch_size": 16, "validation_data": (x[:20], y[:20]), "verbose": False}
    history = trainer.fit(x, y, callbacks=callbacks, resume=folder, **settings)
    found = told(trainer, history), hook.calls, str(trainer.resumed_from)
    if rv.distributed.size() > 1:
        tell(found)
    return found


def killed(folder: str, epochs: str, wait: str = "0") -> None:
    """A run with checkpoints, resumed where there are some; its process tells its id, and the weights.

    It ends `wait` seconds later: one that is to be killed must not end before.
    """
    x, y = data(200)
    rv.manual_seed(9)
    trainer = rv.Trainer(cnn(), "cross_entropy", "adam", metrics=["accuracy"], distributed=True)
    os.write(1, f"\nPID {os.getpid()}\n".encode())
    keep = rv.Checkpoint(folder, every_batches=5)
    history = trainer.fit(
        x, y, epochs=int(epochs), batch_size=16, callbacks=[keep], resume=folder, verbose=False
    )
    tell(told(trainer, history))
    time.sleep(float(wait))


RUNS: dict[str, Callable[[], Any]] = {
    "network with everything": network_with_everything,
    "eager": lambda: network_with_everything(compile=False),
    "weighted and accumulated": weighted_and_accumulated,
    "forked": forked,
    "loader": loader,
    "double and summed": double_and_summed,
    "by row": by_row,
    "in the core": in_the_core,
    "frozen in the middle": frozen_in_the_middle,
    "with callbacks": with_callbacks,
    "counting": counting,
    "synchronised": synchronised,
}


def all_runs() -> dict[str, Any]:
    return {name: run() for name, run in RUNS.items()}
