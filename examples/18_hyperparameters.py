"""Hyperparameters: grid and random search for learning rate and width, and an ablation."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim
from ranvier.explore import ablate, grid_search, log_uniform, randomized_search

X, Y = rv.data.datasets.load_digits()
mixed = np.random.default_rng(0).permutation(len(X))  # the data set is sorted by writer
X, Y = X[mixed].reshape(len(X), -1), Y[mixed]
TRAIN, VALID, TEST = slice(0, 800), slice(800, 1200), slice(1200, None)


def fitted(lr: float, hidden: int, momentum: float = 0.9) -> rv.Trainer:
    model = rv.mlp([64, hidden, 10])
    trainer = rv.Trainer(
        model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    )
    trainer.fit(X[TRAIN], Y[TRAIN], epochs=6)
    return trainer


def right(trainer: rv.Trainer, part: slice) -> float:
    return float((trainer.predict(X[part]) == Y[part]).mean())


def score(**hyperparameters) -> float:
    """Chosen by validation data; the test data must not be used for this."""
    return right(fitted(**hyperparameters), VALID)


def image_score(convolution: bool, pooling: bool, activation: bool) -> float:
    """A small image network with or without its parts."""
    layers = [nn.Unflatten(1, (1, 8, 8))]
    if convolution:
        layers.append(nn.Conv2d(1, 12, 3, padding=1))
    if activation:
        layers.append(nn.ReLU())
    if pooling:
        layers.append(nn.MaxPool2d(2))
    features = (12 if convolution else 1) * (16 if pooling else 64)
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 10))
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01))
    trainer.fit(X[TRAIN], Y[TRAIN], epochs=6)
    return right(trainer, VALID)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    # The same number of trials. The grid tries four learning rates, the random search sixteen.
    grid = grid_search(score, {"lr": [0.001, 0.01, 0.1, 1.0], "hidden": [8, 16, 32, 64]})
    space = {"lr": log_uniform(1e-3, 1.0), "hidden": [8, 16, 32, 64]}
    drawn = randomized_search(score, space, 16)
    print("the five best of the random search")
    print("\n".join(str(drawn).splitlines()[:7]))

    # What each part is worth: leave one out at a time, with three seeds.
    parts = ablate(image_score, ["convolution", "pooling", "activation"], repeats=3)
    print(f"\nimage network, all parts: {parts['all']:.1%}")
    for name in list(parts)[1:]:
        print(f"  without {name:12} {100 * parts[name]:+5.1f} points")

    figure, panels = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    lowest = min(trial.score for trial in (*grid, *drawn))
    for panel, trials, title in ((panels[0], grid, "grid"), (panels[1], drawn, "random")):
        rates, widths, scores = np.array(
            [(t.parameters["lr"], t.parameters["hidden"], 100 * t.score) for t in trials]
        ).T
        points = panel.scatter(rates, widths, c=scores, s=90, cmap="viridis", vmin=100 * lowest, vmax=100)
        best = trials.best.parameters
        panel.plot(best["lr"], best["hidden"], "o", color="black", markersize=15, fillstyle="none")
        panel.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="hidden units")
        panel.set_yticks([8, 16, 32, 64], ["8", "16", "32", "64"])
        panel.minorticks_off()
        panel.set_title(f"{title}, 16 trials: best {trials.best.score:.1%}")
    figure.colorbar(points, ax=panels[1], label="right on validation data (%)")
    names = list(parts)[1:]
    panels[2].barh(names, [100 * parts[name] for name in names])
    panels[2].axvline(0, color="black", linewidth=0.8)
    panels[2].invert_yaxis()
    panels[2].set(
        xlabel="change of accuracy (points)", ylabel="part left out", title="image network without a part"
    )
    picture = out / "18_hyperparameters.png"
    figure.savefig(picture, dpi=120)
    print(f"saved {picture}")

    best = max(grid.best, drawn.best, key=lambda trial: trial.score)
    rv.manual_seed(0)
    tested = right(fitted(**best.parameters), TEST)
    print(
        f"best: learning rate {best.parameters['lr']:.2g}, {best.parameters['hidden']} hidden units: "
        f"{best.score:.1%} on validation data, {tested:.1%} on test data"
    )


if __name__ == "__main__":
    main()
