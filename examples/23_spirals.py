"""Decision boundaries: moons, a ring and two spirals, which no line separates but a hidden layer does."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim


def data(n: int = 200) -> dict:
    """Three data sets that no straight line separates, n points of each class; the third is the hardest."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, n)  # along a class's curve
    half, whole = np.pi * t, 2 * np.pi * t
    circle = np.stack([np.cos(whole), np.sin(whole)], axis=1)
    arm = (0.1 + 0.9 * t[:, None]) * circle  # one turn, outwards
    curves = {  # scatter, and the curve of each class
        "moons": (0.12, (np.cos(half), np.sin(half)), (1 - np.cos(half), 0.5 - np.sin(half))),
        "ring": (0.08, circle.T, 0.5 * circle.T),
        "spirals": (0.02, arm.T, -arm.T),
    }
    y = np.repeat([0, 1], n)
    return {
        name: ((np.hstack(classes).T + rng.normal(0, noise, (2 * n, 2))).astype(np.float32), y)
        for name, (noise, *classes) in curves.items()
    }


def trained(sizes: list[int], x, y):
    """A trained network of these layers, and its accuracy."""
    rv.manual_seed(1)
    model = rv.mlp(sizes, activation="tanh", init="xavier")
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    history = trainer.fit(x, y, epochs=150, batch_size=40)
    return model, history["accuracy"][-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    rows = {"no hidden layer": [2, 2], "two hidden layers of 32": [2, 32, 32, 2]}
    figure, panels = plt.subplots(2, 3, figsize=(10, 6.4), layout="constrained")
    accuracies = []
    for row, (network, sizes) in zip(panels, rows.items(), strict=True):
        for panel, (name, (x, y)) in zip(row, data().items(), strict=True):
            model, accuracy = trained(sizes, x, y)
            accuracies.append(accuracy)
            rv.plot.decision_boundary(model, x, y, ax=panel)
            panel.set_title(f"{network}: {accuracy:.1%}", fontsize=10)
            print(f"{name:<8} {network:<24} accuracy {accuracy:.3f}")
    figure.savefig(out / "23_spirals.png", dpi=110)
    print(f"spirals: {accuracies[2]:.3f} without hidden layers, {accuracies[5]:.3f} with two")


if __name__ == "__main__":
    main()
