"""Batch, mini-batch and stochastic gradient descent: one, few or many updates in a pass over the data."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim

EPOCHS, RATE = 15, 0.1


def trained(x, y, held_out, batch_size: int):
    """The history of a run, and the loss of each of its updates."""
    rv.manual_seed(0)  # the same first weights for each
    model = rv.mlp([64, 32, 10])
    optimizer = optim.SGD(model.parameters(), lr=RATE)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    losses: list[float] = []
    note = rv.LambdaCallback(on_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    trainer.fit(x, y, epochs=EPOCHS, batch_size=batch_size, validation_data=held_out, callbacks=[note])
    return trainer.history, losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    images, labels = rv.data.datasets.load_digits()
    x, xt, y, yt = rv.data.train_test_split(
        images.reshape(-1, 64), labels, test_size=360, random_state=0, stratify=labels
    )
    sizes = {f"batch: all {len(x)}": len(x), "mini-batch: 32": 32, "stochastic: 1": 1}

    plt.style.use("tableau-colorblind10")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    print(f"{EPOCHS} passes over {len(x)} digits, learning rate {RATE}")
    reached = {}
    # the noisiest curve is drawn first, below the others
    for (name, size), dash in zip(reversed(sizes.items()), ("-", "--", "-."), strict=True):
        history, losses = trained(x, y, (xt, yt), size)
        reached[size] = history["val_accuracy"][-1]
        print(
            f"{name:<16} {len(losses):6} updates, {sum(history.seconds):5.2f} s, "
            f"held-out accuracy {reached[size]:.3f}"
        )
        passes = np.arange(1, len(losses) + 1) * EPOCHS / len(losses)
        shown = slice(None, None, max(1, len(losses) // 1000))
        left.plot(passes[shown], losses[shown], dash, linewidth=0.6 if size == 1 else 1.5, label=name)
        right.plot(range(1, EPOCHS + 1), history["val_accuracy"], dash, linewidth=2)
    left.set(xlabel="passes over the data", ylabel="loss of the batch", title="what each update sees")
    left.set_ylim(0, 3)  # single samples go beyond
    right.set(xlabel="passes over the data", ylabel="held-out accuracy", title="what is learnt", ylim=(0, 1))
    for panel in (left, right):
        panel.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3)
    figure.savefig(out / "06_batch_sizes.png", dpi=110)
    shares = ", ".join(f"{name} {reached[size]:.3f}" for name, size in sizes.items())
    print(f"held-out accuracy after the same passes: {shares}")


if __name__ == "__main__":
    main()
