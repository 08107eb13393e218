"""Activations and their derivatives, and how much of a gradient is left after many layers."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv

NAMES = ["heaviside", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus"]
LAYERS = 10


def derivative(f, x):
    """f'(x), element by element, by the backward pass."""
    x = rv.tensor(x, requires_grad=True)
    (x + f(x)).sum().backward()  # x, since the gradient of a step function does not reach it
    return x.grad.numpy() - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    # In the backward pass a gradient is multiplied by the slope of every activation.
    z = np.linspace(-6, 6, 1201)
    print("activation    least    most  largest slope  that to the 10th  flat on")
    kept = {}
    figure, panels = plt.subplots(3, 3, figsize=(9, 7), layout="constrained", sharex=True)
    for name, panel in zip(NAMES, panels.flat, strict=True):
        activation = rv.nn.activation.named(name)
        values, slope = activation(rv.tensor(z)).numpy(), derivative(activation, z)
        kept[name] = slope.max() ** LAYERS  # the best case: every unit at its steepest point
        flat = np.mean(abs(slope) < 0.01)
        row = f"{values.min():7.3f} {values.max():7.3f} {slope.max():14.4f} {kept[name]:17.2g} {flat:8.0%}"
        print(f"{name:<11} {row}")
        panel.plot(z, values, label=name)
        panel.plot(z, slope, "--", label="derivative")
        panel.set_ylim(-1.3, 2.5)
        panel.grid(alpha=0.3)
        panel.legend(loc="upper left", fontsize=8)
    figure.savefig(out / "03_activations.png", dpi=80)

    # The derivative agrees with calculus: that of the sigmoid is s (1 - s).
    s = rv.sigmoid(rv.tensor(z)).numpy()
    assert np.allclose(derivative(rv.sigmoid, z), s * (1 - s))

    # softmax maps scores to probabilities. Each one depends on all scores, so the derivative is a matrix.
    scores = [2.0, 1.0, 0.1]
    print("softmax", rv.softmax(rv.tensor(scores), dim=0).numpy().round(3), "with the derivatives")
    jacobian = rv.autograd.functional.jacobian(lambda x: rv.softmax(x, dim=0), rv.tensor(scores))
    print(jacobian.numpy().round(3))

    most = f"{kept['sigmoid']:.2g} at most, of tanh or relu up to {kept['relu']:.0f}"
    print(f"of a gradient, {LAYERS} layers of sigmoid leave {most}")


if __name__ == "__main__":
    main()
