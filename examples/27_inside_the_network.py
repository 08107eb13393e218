"""Inside a network: exclusive or, learned by four hidden units, and every value of a forward pass."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim


def learnt() -> tuple[nn.Sequential, rv.History]:
    """Two inputs, four ReLU units, one sigmoid: yes where exactly one input is on."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [0.1, 0.1], [0.1, 0.9], [0.9, 0.1], [0.9, 0.9]], np.float32)
    y = np.array([[0], [1], [1], [0], [0], [1], [1], [0]], np.float32)
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1), nn.Sigmoid())
    trainer = rv.Trainer(model, nn.BCELoss(), optim.Adam(model.parameters(), lr=0.05), metrics=["accuracy"])
    history = trainer.fit(x, y, epochs=300, batch_size=8)
    return model, history


def rounded(x: rv.Tensor) -> list[float]:
    return [round(value, 3) for value in x.tolist()]


def walk(model: nn.Sequential, x: rv.Tensor, picture: Path) -> list[float]:
    """The forward pass: the output of each layer in turn, printed and drawn."""
    values = {"input": x}
    with rv.no_grad():
        for layer in model:
            x = layer(x)
            values[type(layer).__name__ + " " * (type(layer).__name__ in values)] = x
    figure, panels = plt.subplots(1, len(values), figsize=(12, 2.6), layout="constrained")
    for panel, (name, output) in zip(panels, values.items(), strict=True):
        print(f"{name:<10} {rounded(output)}")
        panel.bar([f"{unit}" for unit in range(len(output))], output)
        panel.axhline(0, color="black", linewidth=0.8)
        panel.set(title=name, xlabel="unit")
    figure.savefig(picture, dpi=100)
    return x.tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    model, history = learnt()
    last = history.last()
    print(f"after {history.epochs} epochs: loss {last['loss']:.4f}, accuracy {last['accuracy']:.2f}")
    (answer,) = walk(model, rv.tensor([0.2, 0.8]), out / "27_inside_the_network.png")

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    rv.plot.heatmap(model[0].weight, title="weights of the hidden layer", y="unit", ax=left)
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    rv.plot.decision_boundary(model, corners, np.array([0, 1, 1, 0]), ax=right)
    figure.savefig(out / "27_inside_the_network_weights.png", dpi=110)
    print(f"0.2 xor 0.8: yes with probability {answer:.3f}")


if __name__ == "__main__":
    main()
