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

# A negative weight: a high price speaks against the purchase. A positive one: performance speaks for it.
# The bias is the sum when all inputs are 0.
WEIGHTS, BIAS = np.array([-0.5, 1.2]), 0.3


def explained(x, weights, bias, activation):
    """The products, their sum z and the output a, as text."""
    z = float(np.dot(weights, x) + bias)
    products = " + ".join(f"{w * v:.4g}" for w, v in zip(weights, x, strict=True))
    return f"z = {products} + {bias:g} = {z:.4g}; a = {activation(rv.tensor(z)).item():.4g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    for name, laptop in LAPTOPS.items():
        print(f"{name:<16} {explained(laptop, WEIGHTS, BIAS, rv.sigmoid)}")

    # Many inputs are the rows of a matrix. The neurons of a layer are the rows of its weight matrix.
    x = rv.tensor(list(LAPTOPS.values()))
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": WEIGHTS[None], "bias": [BIAS]})
    chances = rv.sigmoid(layer(x))[:, 0].detach()
    print("all at once      a =", chances.numpy().round(4))

    # The same sum with a step function: yes or no, as in the first artificial neurons.
    print(f"exam             {explained([8, 75, 80], [0.4, 0.01, 0.005], -2, nn.Heaviside())}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), width_ratios=[1.5, 1], layout="constrained")
    draw_neuron(left, LAPTOPS["fast and dear"])
    draw_plane(right, layer)
    figure.savefig(out / "01_neuron.png", dpi=110)
    print("chance of a purchase:", ", ".join(f"{100 * a:.1f} %" for a in chances.tolist()))


def draw_neuron(ax, x) -> None:
    """Inputs, weights, sum and output; a weight above 0 is blue, one below 0 red."""
    z = float(np.dot(WEIGHTS, x) + BIAS)
    a = rv.sigmoid(rv.tensor(z)).item()
    places = [(0, 1), (0, -1), (4, 0), (8, 0)]
    for name, value, weight, (left, y) in zip(INPUTS, x, WEIGHTS, places, strict=False):
        ax.plot([left, 4], [y, 0], color="#0072B2" if weight > 0 else "#D55E00", linewidth=4 * abs(weight))
        ax.text(2, y / 2, f"w = {weight:g}", ha="center", bbox={"facecolor": "white", "edgecolor": "none"})
        ax.text(left, y + 0.35, f"{name} {value:g}", ha="center")
    ax.plot([4, 8], [0, 0], "k-", linewidth=1)
    ax.scatter(*np.transpose(places), s=700, color=["#F0E442"] * 2 + ["#56B4E9", "#E69F00"], zorder=3)
    ax.text(4, 0.4, f"Σ, bias {BIAS:g}", ha="center")
    ax.text(6, 0.1, f"z = {z:.3g}", ha="center")
    ax.text(8, 0.4, f"sigmoid(z) = {a:.3g}", ha="center")
    ax.set(xlim=(-1.5, 9.5), ylim=(-1.6, 1.6))
    ax.axis("off")


def draw_plane(ax, layer) -> None:
    """The output for every pair of inputs, and the line on which it is 1/2."""
    side = np.linspace(-1, 1, 101)
    plane = np.stack(np.meshgrid(side, side), axis=-1).astype(np.float32)
    output = rv.sigmoid(layer(plane))[..., 0].detach().numpy()
    shades = ax.contourf(side, side, output, levels=np.linspace(0, 1, 11), cmap="RdBu", alpha=0.6)
    ax.figure.colorbar(shades, ax=ax, label="output of the neuron")
    ax.plot(side, -(WEIGHTS[0] * side + BIAS) / WEIGHTS[1], "k-", label="output 1/2: z = 0")
    for (name, laptop), mark in zip(LAPTOPS.items(), "osD", strict=True):
        ax.plot(*laptop, mark, color="black", markerfacecolor="white", label=name)
    ax.set(xlabel=INPUTS[0], ylabel=INPUTS[1], title="yes above the line, no below", ylim=(-1, 1))
    ax.legend(fontsize=8, loc="lower left")


if __name__ == "__main__":
    main()
