"""Deep networks before training: weights and activation decide whether a signal vanishes or explodes."""

import argparse
from pathlib import Path

import numpy as np
import ranvier as rv
from matplotlib.figure import Figure
from ranvier import nn
from ranvier.explore import signals

DEPTH = 20
CHOICES = [("he", "relu"), ("xavier", "tanh"), ("xavier", "sigmoid"), (0.01, "relu"), (0.5, "relu")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    # Depth alone does not help: ten linear layers equal one.
    rv.manual_seed(0)
    stack = nn.Sequential(nn.Linear(8, 64), *[nn.Linear(64, 64) for _ in range(8)], nn.Linear(64, 3))
    one = nn.Linear(8, 3).double()
    weight, bias = rv.eye(8, dtype=rv.float64), rv.zeros(8, dtype=rv.float64)
    for layer in stack.double():  # W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2)
        weight, bias = layer.weight @ weight, layer.weight @ bias + layer.bias
    one.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
    noise = rv.randn(1000, 8, dtype=rv.float64)
    difference = (stack(noise) - one(noise)).abs().max().item()
    print(f"ten linear layers against {one}: outputs differ by {difference:.1e} at most")

    # With activations the size of the output is a product of one factor a layer, and each must be near 1.
    # Noise is sent forward through the network, and other noise backward.
    found = [signals(init, activation, depth=DEPTH) for init, activation in CHOICES]
    print(f"\n{'weights':>8} {'activation':>11} {'signal':>9} {'gradient':>9}   over {DEPTH} layers")
    for one_of in found:
        forward = one_of.forward[-1] / one_of.forward[0]
        backward = one_of.backward[0] / one_of.backward[-1]
        print(f"{one_of.init!s:>8} {one_of.activation:>11} {forward:9.1e} {backward:9.1e}   {one_of.verdict}")

    # A ReLU unit that is 0 for every sample is dead: no gradient passes it.
    dead = {f"layer {layer}": int(found[0].dead[layer - 1]) for layer in (1, 5, 10, 20)}
    units = found[0].width
    print("\ndead units, he and relu:", ", ".join(f"{n} of {units} in {layer}" for layer, n in dead.items()))

    figure = Figure(figsize=(10, 8), layout="constrained")
    above, below = figure.subfigures(2, 1)
    rv.plot.signals(found, figure=above)

    # The same in a network for digits: the gradients of one batch, layer by layer.
    x, y = rv.data.datasets.load_digits()
    x = x.reshape(len(x), -1)
    left, right = below.subplots(1, 2, sharex=True)
    sizes = {}
    for panel, activation in ((left, "sigmoid"), (right, "relu")):
        rv.manual_seed(0)
        model = rv.mlp([64, *[32] * 6, 10], activation=activation)
        nn.CrossEntropyLoss()(model(rv.tensor(x[:256])), rv.tensor(y[:256])).backward()
        rv.plot.gradient_flow(model, ax=panel)
        panel.set_title(f"six hidden layers with {activation}")
        sizes[activation] = np.abs(model[0].weight.grad.numpy()).mean()
    picture = out / "09_deep_signals.png"
    figure.savefig(picture, dpi=120)
    print(f"saved {picture}")
    print(
        f"mean gradient of the first layer: {sizes['sigmoid']:.1e} with sigmoid, {sizes['relu']:.1e} with "
        f"relu, {sizes['relu'] / sizes['sigmoid']:.0f} times as large"
    )


if __name__ == "__main__":
    main()
