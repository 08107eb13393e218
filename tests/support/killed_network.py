"""A small network's training that a test kills and resumes: `python killed_network.py FOLDER RESULT KIND`.

A checkpoint every other batch, so that much of the time goes into writing; says "ready" before `fit`.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import ranvier as rv
from ranvier import nn, optim

KINDS = ("mlp", "cnn", "lstm", "norm")


class LastStep(nn.Module):
    """The LSTM's output at the last step, classified."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 12, batch_first=True), nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def network(kind):
    if kind == "mlp":
        return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 3)), (16,)
    if kind == "norm":
        body = [
            nn.Linear(16, 24),
            nn.BatchNorm1d(24),
            nn.ReLU(),
            nn.Linear(24, 24),
            nn.LayerNorm(24),
            nn.Tanh(),
        ]
        return nn.Sequential(*body, nn.Linear(24, 3)), (16,)
    if kind == "lstm":
        return LastStep(), (6, 4)
    body = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*body, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 3)), (1, 10, 10)


def main(folder, result, kind):
    rv.manual_seed(11)
    model, shape = network(kind)
    rng = np.random.default_rng(4)
    x = rng.normal(size=(150, *shape)).astype(np.float32)
    y = (x.reshape(150, -1)[:, :3]).argmax(1)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"], clip_grad_norm=1.0)
    cosine = optim.lr_scheduler.CosineAnnealingLR(optimizer, 6 * 15)
    print("ready", flush=True)
    trainer.fit(
        x,
        y,
        epochs=6,
        batch_size=8,
        validation_split=0.2,
        callbacks=[rv.train.Schedule(cosine, per="batch"), rv.Checkpoint(folder, every_batches=2)],
        resume=folder,
    )
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    history = {name: [value.hex() for value in values] for name, values in trainer.history.items()}
    rv.serialization.files.replace(Path(result), f"{digest.hexdigest()} {history}".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
