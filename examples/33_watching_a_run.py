"""Watching a run: the learning rate before it, loss and norms during it, boundary and weights after it."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim

EPOCHS = 40


def network() -> nn.Sequential:
    """2 inputs, 4 ReLU units, one probability; Glorot's starting values."""
    rv.manual_seed(0)
    return rv.mlp([2, 4, 1], activation="relu", init="xavier", output="sigmoid")


def trainer_of(model: nn.Module, rate: float) -> rv.Trainer:
    optimizer = optim.Adam(model.parameters(), lr=rate)
    return rv.Trainer(model, nn.BCELoss(), optimizer, metrics=["accuracy"], l2=5e-4)  # a small penalty


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    labels = np.repeat([0, 1], 500)
    clouds = np.random.default_rng(0).normal(0, 0.7, (1000, 2))  # around (-1, -1) and (1, 1)
    x = (clouds + (2 * labels - 1)[:, None]).astype("float32")
    y = labels[:, None].astype("float32")  # one probability for each sample, so one column
    x, x_test, y, y_test = rv.data.train_test_split(x, y, test_size=0.3, random_state=0, stratify=labels)

    # Before: losses at growing rates. The suggested rate is the one at which the loss falls fastest.
    found = rv.train.lr_range_test(network(), nn.BCELoss(), optim.Adam, x, y, start=1e-4, end=10)
    print(f"learning rate found: {found.suggestion:.3g}")

    # During: the loss of each epoch, and how large weights and gradients are.
    norms = rv.NormHistory()
    settings = {"batch_size": 50, "validation_data": (x_test, y_test)}
    trainer = trainer_of(network(), found.suggestion)
    history = trainer.fit(x, y, epochs=EPOCHS, callbacks=[norms], **settings)
    print(history)

    # After: pictures of the trained model.
    figure = plt.figure(figsize=(12, 9), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1)
    rv.plot.history(history, figure=top)
    rv.plot.norms(norms, figure=middle)
    left, right = bottom.subfigures(1, 2, width_ratios=[2, 3])
    rv.plot.decision_boundary(trainer.model, x_test, y_test[:, 0], ax=left.subplots())
    rv.plot.weights(trainer.model, figure=right)
    figure.savefig(out / "33_watching_a_run.png", dpi=80)

    # A stopped run continues from its checkpoint, and ends with the same bits as an uninterrupted one.
    keep = rv.Checkpoint(out / "33_checkpoints", overwrite=True)
    trainer_of(network(), found.suggestion).fit(x, y, epochs=EPOCHS // 2, callbacks=[keep], **settings)
    resumed = trainer_of(network(), found.suggestion)
    resumed.fit(x, y, epochs=EPOCHS, resume=keep.folder, callbacks=[keep], **settings)
    pairs = zip(trainer.model.parameters(), resumed.model.parameters(), strict=True)
    same = all(rv.equal(a, b) for a, b in pairs)
    print(f"stopped after {EPOCHS // 2} epochs and resumed: the same weights to the last bit: {same}")
    print(f"accuracy on unseen samples: {history['val_accuracy'][-1]:.3f}")


if __name__ == "__main__":
    main()
