"""Gradient descent: random search and the gradient, learning rates, and four optimizers compared."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import optim

X = rv.tensor([[0.5, 0.8], [0.3, 0.9], [0.7, 0.4]], dtype=rv.float64)
Y = rv.tensor([1.0, 1.0, 0.0], dtype=rv.float64)
OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.01),
    "momentum": lambda p: optim.SGD(p, lr=0.01, momentum=0.9),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.1),
    "Adam": lambda p: optim.Adam(p, lr=0.1),
}


def loss(w):
    """Mean squared error of one sigmoid neuron with two weights on three samples."""
    return ((rv.sigmoid(X @ w) - Y) ** 2).mean()


def bowl(w):
    return (w[0] - 1) ** 2 + 2 * (w[1] + 0.5) ** 2


def ripples(w):
    x, y = w[0], w[1]
    return x**2 + y**2 + 0.3 * rv.sin(3 * x) * rv.cos(3 * y) + 0.1 * (x + y) ** 2


def descent(f, start, steps, make):
    """The points of a descent, and the value of f at each."""
    w = rv.tensor(start, dtype=rv.float64, requires_grad=True)
    optimizer = make([w])
    points, values = [], []
    for _ in range(steps + 1):
        optimizer.zero_grad()
        value = f(w)
        value.backward()
        points.append(w.detach().numpy().copy())
        values.append(value.item())
        optimizer.step()
    return np.array(points), np.array(values)


def draw(panel, f, points, title, mark="o-"):
    """A path on the contours of f; the levels are closer where f is low."""
    side = np.linspace(-3, 3, 81)
    values = f(rv.tensor(np.stack(np.meshgrid(side, side)))).numpy()
    panel.contour(side, side, values, values.max() * np.linspace(0.02, 1, 14) ** 3, colors="#B0B0B0")
    panel.plot(*points.T, mark, markersize=4, label=title)
    panel.set(xlim=(-3, 3), ylim=(-3, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    figure, panels = plt.subplots(2, 4, figsize=(15, 7.5), layout="constrained")

    # 1. Random search. With two weights it works slowly; with a thousand it does not work.
    rng = np.random.default_rng(0)
    guesses = np.array([loss(rv.tensor(w)).item() for w in rng.uniform(-4, 4, (100, 2))])

    # 2. The gradient: by autograd and by finite differences.
    w, h = rv.zeros(2, dtype=rv.float64), 1e-5
    central = [(loss(w + h * e) - loss(w - h * e)).item() / (2 * h) for e in rv.eye(2, dtype=rv.float64)]
    print("gradient by autograd", rv.grad(loss)(w).numpy(), "by differences", np.round(central, 8))
    _, followed = descent(loss, [0.0, 0.0], 99, lambda p: optim.SGD(p, lr=5.0))
    panels[0, 0].plot(guesses, ".", color="#767676", label="each guess")
    panels[0, 0].plot(np.minimum.accumulate(guesses), "--", label="the best guess so far")
    panels[0, 0].plot(followed, linewidth=2, label="following the gradient")
    panels[0, 0].set(xlabel="trial, or step", ylabel="loss", yscale="log")
    panels[0, 0].legend()

    # 3. The learning rate: one starting point, three rates.
    for panel, rate in zip(panels[0, 1:], (0.005, 0.1, 0.52), strict=True):
        points, values = descent(bowl, [-2.0, 2.0], 30, lambda p, lr=rate: optim.SGD(p, lr=lr))
        draw(panel, bowl, points, f"rate {rate}")
        panel.set_title(f"rate {rate}: from {values[0]:.3g} to {values[-1]:.3g}")

    # 4. Optimizers use the gradients of earlier steps in different ways.
    last = {}
    for panel, (name, make) in zip(panels[1], OPTIMIZERS.items(), strict=True):
        points, values = descent(ripples, [2.0, 1.5], 50, make)
        draw(panel, ripples, points, name)
        panel.set_title(f"{name}: {values[-1]:.4f} after 50 steps")
        last[name] = values[-1]
    figure.savefig(out / "04_gradient_descent.png", dpi=80)

    print(
        f"best of 100 guesses {guesses.min():.4f}, after as many steps down the gradient "
        f"{followed.min():.4f}; first in the race: {min(last, key=last.get)}"
    )


if __name__ == "__main__":
    main()
