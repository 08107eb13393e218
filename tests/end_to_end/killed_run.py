"""A training run that a test kills and resumes: `python killed_run.py FOLDER RESULT KIND EPOCHS`.

KIND is arrays, loader or images; the last has convolutions before the linear layers.

It has everything that a checkpoint must hold: dropout, batch norm, momentum, a schedule, accumulated
gradients, early stopping, metrics, random augmentation of the batches, a thread that makes them ahead.
"""

import sys
from pathlib import Path

import numpy as np
import ranvier as rv
from ranvier import nn, optim
from ranvier.data import DataLoader, TensorDataset, augment

SAMPLES = 60
BATCH_SIZE = 8


class Decay:
    """A schedule with its own state."""

    def __init__(self, optimizer):
        self.group = optimizer.param_groups[0]
        self.steps = 0

    def step(self):
        self.steps += 1
        self.group["lr"] = 0.05 / (1 + self.steps)

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]


def noisy(x):
    return x + 0.1 * rv.randn(*x.shape).numpy()


def data(kind):
    """The positional and the named arguments of `Trainer.fit` that say what it trains on."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, 1, 4, 4)).astype(np.float32)
    y = (x[:, 0, 0, 0] * x[:, 0, 0, 1] > 0).astype(np.int64)
    if kind != "loader":
        return (x, y), {"batch_size": BATCH_SIZE, "class_weight": "balanced", "validation_split": 0.2}
    dataset = TensorDataset(x[:48], y[:48])
    steps = [augment.RandomCrop(4, 1), augment.RandomHorizontalFlip(), augment.RandomErasing()]
    settings = {"shuffle": True, "generator": 3, "augment": augment.Compose(steps), "transform": noisy}
    loader = DataLoader(dataset, BATCH_SIZE, prefetch=2, **settings)
    return (loader,), {"validation_data": (x[48:], y[48:])}


def run(folder, kind, epochs):
    """Train, from the newest checkpoint in the folder if there is one; returns trainer and early stopping."""
    rv.manual_seed(5)
    stage = []
    if kind == "images":
        stage = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    # wide, so that writing a checkpoint takes long enough to be killed within
    body = [nn.Flatten(), nn.Linear(16, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(0.3)]
    model = nn.Sequential(*stage, *body, nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 2))
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    settings = {"metrics": ["accuracy"], "l2": 1e-4, "accumulate": 2, "clip_grad_norm": 1.0}
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, **settings)
    stopping = rv.EarlyStopping("val_accuracy", patience=epochs - 2)
    arrays, arguments = data(kind)
    checkpoint = rv.Checkpoint(folder, every_batches=1, best=kind != "loader")
    per = "epoch" if kind == "loader" else "batch"
    schedule = rv.Schedule(Decay(optimizer), per=per)
    callbacks = [checkpoint, stopping, schedule, Report(folder)]
    trainer.fit(*arrays, epochs=epochs, **arguments, callbacks=callbacks, resume=folder)
    return trainer, stopping


class Report(rv.Callback):
    """Writes to a file where the run starts each time."""

    def __init__(self, folder):
        self.folder = folder
        Path(folder).mkdir(parents=True, exist_ok=True)

    def on_train_begin(self):
        origin = self.trainer.resumed_from
        with open(Path(self.folder, "lives.txt"), "a") as stream:
            name = origin.name if origin else ""
            print(name, file=stream)


def main(folder, result, kind, epochs):
    trainer, stopping = run(folder, kind, int(epochs))
    rv.save(
        {
            "model": dict(trainer.model.state_dict()),
            "optimizer": trainer.optimizer.state_dict(),
            "history": trainer.history.to_dict(),
            "updates": trainer.updates,
            "random": rv.get_rng_state(),
            "best": [stopping.best, stopping.best_epoch, stopping.stopped_epoch],
            "p": trainer.predict_proba(np.ones((3, 1, 4, 4), np.float32)),
        },
        result,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
