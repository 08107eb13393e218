"""Runs on the digits that end at any batch, and what their weights are in the end."""

import hashlib

import numpy as np
import ranvier as rv
from ranvier import nn, optim
from ranvier.data import datasets

EPOCHS, SAMPLES, BATCH_SIZE = 4, 150, 24  # 7 batches in an epoch, the last one of 6
BATCHES = EPOCHS * -(-SAMPLES // BATCH_SIZE)


class Rows(nn.Module):
    """An LSTM that reads an image row by row."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 12, batch_first=True), nn.Linear(12, 10)

    def forward(self, x):
        return self.head(self.lstm(x.reshape(x.shape[0], 8, 8))[0][:, -1])


def cnn():
    stages = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 2), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*stages, nn.Flatten(), nn.Linear(16, 10))


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Dropout(0.2), nn.Linear(20, 10))


def normed():
    stages = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*stages, nn.Flatten(), nn.Linear(128, 16), nn.BatchNorm1d(16), nn.Linear(16, 10))


MODELS = {"cnn": cnn, "mlp": mlp, "lstm": Rows, "batch norm": normed}


def digits():
    x, y = datasets.load_digits()
    return x[:SAMPLES], y[:SAMPLES]


class Stop(rv.Callback):
    """Ends the run with an exception before so many batches are done."""

    def __init__(self, batches, error=ZeroDivisionError):
        self.left, self.error = batches, error

    def on_batch_begin(self, batch):
        if self.left == 0:
            raise self.error
        self.left -= 1


def trainer(kind, compile=True):
    rv.manual_seed(11)
    model = MODELS[kind]()
    return rv.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01), compile=compile)


def fit(trainer, epochs=EPOCHS, **more):
    x, y = digits()
    trainer.fit(x, y, epochs=epochs, batch_size=BATCH_SIZE, validation_data=(x[:40], y[:40]), **more)
    return trainer


def sha256(trainer):
    """Of all weights, statistics, the optimizer's state and the history."""
    arrays = {}
    state = {"model": dict(trainer.model.state_dict()), "optimizer": trainer.optimizer.state_dict()}
    state["history"] = trainer.history.to_dict()
    text = rv.serialization.files.encode(state, arrays)
    digest = hashlib.sha256(repr(text).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
