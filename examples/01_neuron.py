"""One neuron: weighted inputs plus a bias, through an activation, and its decision line."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn

# Will somebody buy this laptop? Both inputs are scaled to 0 ... 1.
INPUTS = ["price", "performance"]
LAPTOPS = {"fast and dear": (0.8, 0.9), "cheap, middling": (0.3, 0.5), "dear and slow": (0.9, 0.3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    # A negative weight: a high price speaks against the purchase. A positive one: performance speaks for it.
    # The bias is the sum when all inputs are 0.
    neuron = nn.Neuron.with_weights([-0.5, 1.2], bias=0.3, activation="sigmoid")
    for name, laptop in LAPTOPS.items():
        print(f"{name:<16} {neuron.explain(laptop)}")

    # Many inputs are the rows of a matrix. The neurons of a layer are the rows of its weight matrix.
    x = np.array(list(LAPTOPS.values()))
    print("all at once      a =", neuron(x).detach().numpy().round(4))
    layer = nn.Linear(2, 3)
    first = nn.Neuron.of(layer, 0, "relu")
    assert abs(first(x[0]).item() - rv.relu(layer(x[:1]))[0, 0].item()) < 1e-6

    # The same sum with a step function: yes or no, as in the first artificial neurons.
    exam = nn.Neuron.with_weights([0.4, 0.01, 0.005], bias=-2, activation="heaviside")
    print(f"exam             {exam.explain([8, 75, 80])}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), width_ratios=[1.5, 1], layout="constrained")
    rv.plot.neuron(neuron, LAPTOPS["fast and dear"], input_names=INPUTS, ax=left)
    draw_plane(right, neuron)
    figure.savefig(out / "01_neuron.png", dpi=110)
    chances = ", ".join(f"{100 * a:.1f} %" for a in neuron(x).tolist())
    print(f"chance of a purchase: {chances}")


def draw_plane(ax, neuron: nn.Neuron) -> None:
    """The output for every pair of inputs, and the line on which it is 1/2."""
    side = np.linspace(-1, 1, 101)
    plane = np.stack(np.meshgrid(side, side), axis=-1)
    output = neuron(plane.reshape(-1, 2)).detach().numpy().reshape(101, 101)
    shades = ax.contourf(side, side, output, levels=np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.6)
    ax.figure.colorbar(shades, ax=ax, label="output of the neuron")
    ax.plot(*neuron.boundary((-1, -1), (1, 1)).T, "k-", label="output 1/2: z = 0")
    for (name, laptop), mark in zip(LAPTOPS.items(), "osD", strict=True):
        ax.plot(*laptop, mark, color="black", markerfacecolor="white", label=name)
    ax.set(xlabel=INPUTS[0], ylabel=INPUTS[1], title="yes above the line, no below")
    ax.legend(fontsize=8, loc="lower left")


if __name__ == "__main__":
    main()
