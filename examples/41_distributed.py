"""Several processes: the same weights, to the last bit, from one process or from `mpirun -n 4`."""

import argparse
import hashlib
from pathlib import Path

import matplotlib.pyplot as plt
import ranvier as rv
from ranvier import nn


def network() -> nn.Sequential:
    """A small convolutional network; its dropout and batch norm are the same at any number of processes."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.2), nn.Linear(256, 10)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out

    # Every process has the same data and settings. Each computes a part of every batch.
    rv.manual_seed(0)
    data = rv.data.datasets.load_digits()
    x, x_test, y, y_test = rv.data.train_test_split(*data, test_size=0.25, random_state=0)
    trainer = rv.Trainer(network(), "cross_entropy", "adam", lr=3e-3, metrics=["accuracy"], distributed=True)
    history = trainer.fit(x, y, epochs=6, batch_size=64, validation_data=(x_test, y_test), verbose=False)

    # Each process has the same weights. Rank 0 writes and prints.
    weights = b"".join(value.numpy().tobytes() for value in trainer.model.state_dict().values())
    if rv.distributed.rank() == 0:
        out.mkdir(parents=True, exist_ok=True)
        figure = plt.figure(figsize=(9, 4), layout="constrained")
        rv.plot.history(history, figure=figure)
        figure.savefig(out / "41_distributed.png", dpi=80)
        print(f"SHA-256 of the weights: {hashlib.sha256(weights).hexdigest()[:16]}")
        accuracy, processes = history["val_accuracy"][-1], rv.distributed.size()
        print(f"processes: {processes}, accuracy on unseen digits: {accuracy:.3f}")


if __name__ == "__main__":
    main()
