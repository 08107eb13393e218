"""A network from scratch: forward, backward and update in NumPy alone, compared with the library."""

import argparse
import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim

SIZES, RATE, EPOCHS = [64, 32, 16, 10], 0.2, 400


class Network:
    """Dense layers with ReLU between them and softmax at the end, by the formulas alone."""

    def __init__(self, sizes: list[int], rng: np.random.Generator) -> None:
        pairs = list(itertools.pairwise(sizes))
        self.weights = [rng.standard_normal((n, m)) * np.sqrt(2 / m) for m, n in pairs]  # He's initialisation
        self.biases = [np.zeros(n) for n in sizes[1:]]

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Probabilities (samples, classes); keeps what the backward pass needs."""
        self.inputs, self.sums = [], []  # of each layer: what came in, and x W^T + b
        for weight, bias in zip(self.weights, self.biases, strict=True):
            self.inputs.append(x)
            self.sums.append(x @ weight.T + bias)
            x = np.maximum(self.sums[-1], 0)
        scores = self.sums[-1]  # no ReLU after the last layer
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def backward(self, probabilities: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """(dW, db) of each layer, from the last to the first."""
        gradients = []
        d = (probabilities - np.eye(probabilities.shape[1])[y]) / len(y)  # prediction minus truth
        for i in reversed(range(len(self.weights))):
            gradients.insert(0, (d.T @ self.inputs[i], d.sum(axis=0)))
            if i > 0:
                d = (d @ self.weights[i]) * (self.sums[i - 1] > 0)
        return gradients

    def fit(self, x: np.ndarray, y: np.ndarray) -> list[float]:
        losses = []
        for _ in range(EPOCHS):
            p = self.forward(x)
            losses.append(float(-np.log(p[np.arange(len(y)), y]).mean()))
            for i, (dw, db) in enumerate(self.backward(p, y)):
                self.weights[i] -= RATE * dw
                self.biases[i] -= RATE * db
        return losses

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.forward(x).argmax(axis=1)


def with_the_library(start: Network, x: np.ndarray, y: np.ndarray) -> tuple[rv.Trainer, list[float]]:
    """The same network from the same weights, by layers, a loss and an optimizer."""
    model = rv.mlp(SIZES, dtype=rv.float64)
    state = {}
    for i, (weight, bias) in enumerate(zip(start.weights, start.biases, strict=True)):
        state |= {f"{2 * i}.weight": weight, f"{2 * i}.bias": bias}  # every other layer is a ReLU
    model.load_state_dict(state)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=RATE))
    return trainer, trainer.fit(x, y, epochs=EPOCHS, batch_size=len(x))["loss"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    x, y = rv.data.datasets.load_digits()
    x = x.reshape(len(x), -1).astype(np.float64)
    x, x_test, y, y_test = rv.data.train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)

    network = Network(SIZES, np.random.default_rng(0))
    trainer, theirs = with_the_library(network, x, y)  # first: fit changes the weights that both begin with
    losses = network.fit(x, y)
    mine, library = ((p(x_test) == y_test).mean() for p in (network.predict, trainer.predict))
    print(
        f"from scratch: loss {losses[0]:.4f} -> {losses[-1]:.6f}, {mine:.4f} of {len(y_test)} unseen digits"
    )
    print(f"library:      loss {theirs[0]:.4f} -> {theirs[-1]:.6f}, {library:.4f}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
    left.semilogy(losses, color="#0072B2", linewidth=3, label="from scratch")
    left.semilogy(theirs, "--", color="#E69F00", label="library")
    left.set(xlabel="update, each with all samples", ylabel="loss", title="the same curve twice")
    left.grid(alpha=0.3)
    left.legend()
    rv.plot.confusion_matrix(y_test, network.predict(x_test), ax=right)
    figure.savefig(out / "35_from_scratch.png", dpi=100)
    difference = max(abs(a - b) for a, b in zip(losses, theirs, strict=True))
    print(f"largest difference of the {EPOCHS} losses: {difference:.1e}")


if __name__ == "__main__":
    main()
