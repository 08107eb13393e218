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


def falls_fastest(x: np.ndarray, y: np.ndarray) -> float:
    """The learning rate at which the loss falls fastest, where it grows from batch to batch."""
    model, losses, rates = network(), [], np.geomspace(1e-4, 10, 200)
    optimizer = optim.Adam(model.parameters())
    for rate, batch in zip(rates, np.random.default_rng(0).integers(len(x), size=(200, 50)), strict=True):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy(model(x[batch]), rv.tensor(y[batch]))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    mean = np.convolve(losses, np.full(20, 0.05), "valid")  # mean[i] is of losses i to i + 19
    return float(rates[np.diff(mean).argmin() + 10])


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

    # Before: the learning-rate range test (L. N. Smith, 2017).
    rate = falls_fastest(x, y)
    print(f"learning rate found: {rate:.3g}")

    # During: the loss of each epoch, and how large the weights are.
    norms = {name: [] for name, p in network().named_parameters() if p.ndim > 1}
    note = rv.train.LambdaCallback(
        on_epoch_end=lambda epoch, logs: [
            values.append(trainer.model.get_parameter(name).norm().item()) for name, values in norms.items()
        ]
    )
    settings = {"batch_size": 50, "validation_data": (x_test, y_test)}
    trainer = trainer_of(network(), rate)
    history = trainer.fit(x, y, epochs=EPOCHS, callbacks=[note], **settings)
    print(history)

    # After: pictures of the trained model.
    figure = plt.figure(figsize=(12, 7), layout="constrained")
    top, bottom = figure.subfigures(2, 1)
    rv.plot.history(history, figure=top)
    left, middle, right = bottom.subplots(1, 3)
    rv.plot.decision_boundary(trainer.model, x_test, y_test[:, 0], ax=left)
    for name, values in norms.items():
        middle.plot(range(1, EPOCHS + 1), values, label=name)
        right.hist(trainer.model.get_parameter(name).flatten().tolist(), alpha=0.6, label=name)
    middle.set(xlabel="epoch", ylabel="norm of the weights")
    right.set(xlabel="weight", ylabel="count")
    right.yaxis.get_major_locator().set_params(integer=True)
    for panel in (middle, right):
        panel.legend()
    figure.savefig(out / "33_watching_a_run.png", dpi=80)

    # A stopped run continues from its checkpoint, and ends with the same bits as an uninterrupted one.
    keep = rv.Checkpoint(out / "33_checkpoints", overwrite=True)
    trainer_of(network(), rate).fit(x, y, epochs=EPOCHS // 2, callbacks=[keep], **settings)
    resumed = trainer_of(network(), rate)
    resumed.fit(x, y, epochs=EPOCHS, resume=keep.folder, callbacks=[keep], **settings)
    pairs = zip(trainer.model.parameters(), resumed.model.parameters(), strict=True)
    same = all(rv.equal(a, b) for a, b in pairs)
    print(f"stopped after {EPOCHS // 2} epochs and resumed: the same weights to the last bit: {same}")
    print(f"accuracy on unseen samples: {history['val_accuracy'][-1]:.3f}")


if __name__ == "__main__":
    main()
