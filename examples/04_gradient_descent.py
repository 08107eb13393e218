"""Gradient descent: random search and the gradient, learning rates, and four optimizers compared."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import ranvier as rv
from ranvier import explore
from ranvier.explore import surfaces

X = rv.tensor([[0.5, 0.8], [0.3, 0.9], [0.7, 0.4]], dtype=rv.float64)
Y = rv.tensor([1.0, 1.0, 0.0], dtype=rv.float64)


def loss(w):
    """Mean squared error of one sigmoid neuron with two weights on three samples."""
    return ((rv.sigmoid(X @ w) - Y) ** 2).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    rv.manual_seed(0)

    # 1. Random search. With two weights it works slowly; with a thousand it does not work.
    guessed = explore.random_search(loss, -4, 4, trials=100, dimensions=2)

    # 2. The gradient: by autograd and by finite differences.
    print(explore.finite_differences(loss, [0.0, 0.0]), "\n")
    followed = explore.gradient_descent(loss, [0.0, 0.0], lr=5.0, steps=99)

    # 3. The learning rate: one starting point, four rates.
    rates = explore.compare_learning_rates(surfaces.bowl, surfaces.bowl.start, (0.005, 0.1, 0.45, 0.52), 30)
    print(f"learning rates on {surfaces.bowl.formula}\n{rates}\n")

    # 4. Optimizers use the gradients of earlier steps in different ways.
    race = explore.compare_optimizers(surfaces.ripples, steps=50)
    print(f"optimizers on {surfaces.ripples.formula}\n{race}\n")

    figure = plt.figure(figsize=(14, 11), layout="constrained")
    above, below = figure.subfigures(2, 1)
    left, right = above.subfigures(1, 2, width_ratios=[1, 1.1])
    ax = left.subplots()
    ax.plot(guessed.values, ".", color="#767676", label="each guess")
    ax.plot(guessed.best_so_far, "--", color="#D55E00", label="the best guess so far")
    ax.plot(followed.values, color="#0072B2", linewidth=2, label="following the gradient")
    ax.set(xlabel="trial, or step", ylabel="loss", title="guessing and following the gradient", yscale="log")
    ax.grid(alpha=0.3)
    ax.legend()
    rv.plot.learning_rates(rates, surfaces.bowl, figure=right)
    rv.plot.optimizer_race(surfaces.ripples, race, figure=below)
    figure.savefig(out / "04_gradient_descent.png", dpi=80)

    print(
        f"best of 100 guesses {guessed.best_value:.4f}, after as many steps down the gradient "
        f"{followed.best_value:.4f}; first in the race: {race.best}"
    )


if __name__ == "__main__":
    main()
