"""Hyperparameters: grid and random search for learning rate and width, and an ablation."""

import argparse
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim
from ranvier.sklearn import MLPClassifier
from scipy.stats import loguniform
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, PredefinedSplit, RandomizedSearchCV

X, Y = rv.data.datasets.load_digits()
mixed = np.random.default_rng(0).permutation(len(X))  # the data set is sorted by writer
X, Y = X[mixed].reshape(len(X), -1), Y[mixed]
TRAIN, VALID, TEST = slice(0, 800), slice(800, 1200), slice(1200, None)
# Chosen by validation data; the test data must not be used for this.
SPLIT = PredefinedSplit(np.where(np.arange(1200) < 800, -1, 0))
PARTS = ["convolution", "pooling", "activation"]
NETWORK = MLPClassifier(
    (16,),
    solver="sgd",
    batch_size=32,
    max_iter=6,
    n_iter_no_change=6,
    nesterovs_momentum=False,
    random_state=0,
)


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
    return float((trainer.predict(X[VALID]) == Y[VALID]).mean())


def mean_score(without: str = "") -> float:
    """The mean score of three seeds, without one part."""
    scores = []
    for seed in range(3):
        rv.manual_seed(seed)
        scores.append(image_score(**{name: name != without for name in PARTS}))
    return float(np.mean(scores))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    warnings.simplefilter("ignore", ConvergenceWarning)  # six epochs are enough to compare settings

    # The same number of trials. The grid tries four learning rates, the random search sixteen.
    widths = [8, 16, 32, 64]
    grid = GridSearchCV(
        NETWORK, {"learning_rate_init": [0.001, 0.01, 0.1, 1.0], "hidden_layer_sizes": widths}, cv=SPLIT
    )
    space = {"learning_rate_init": loguniform(1e-3, 1.0), "hidden_layer_sizes": widths}
    drawn = RandomizedSearchCV(NETWORK, space, n_iter=16, cv=SPLIT, random_state=0)
    for search in (grid, drawn):
        search.fit(X[:1200], Y[:1200])
    print("the five best of the random search: learning rate, hidden units, right")
    for i in np.argsort(drawn.cv_results_["rank_test_score"])[:5]:
        found = drawn.cv_results_["params"][i]
        score = drawn.cv_results_["mean_test_score"][i]
        print(f"  {found['learning_rate_init']:.4f}  {found['hidden_layer_sizes']:3d}  {score:.1%}")

    # What each part is worth: leave one out at a time, with three seeds.
    whole = mean_score()
    parts = {name: mean_score(without=name) - whole for name in PARTS}
    print(f"\nimage network, all parts: {whole:.1%}")
    for name in parts:
        print(f"  without {name:12} {100 * parts[name]:+5.1f} points")

    figure, panels = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    lowest = min(search.cv_results_["mean_test_score"].min() for search in (grid, drawn))
    for panel, search, title in ((panels[0], grid, "grid"), (panels[1], drawn, "random")):
        tried = search.cv_results_
        rates = tried["param_learning_rate_init"].astype(float)
        hidden = tried["param_hidden_layer_sizes"].astype(float)
        scores = 100 * tried["mean_test_score"]
        points = panel.scatter(rates, hidden, c=scores, s=90, cmap="viridis", vmin=100 * lowest, vmax=100)
        best = search.best_index_
        panel.plot(rates[best], hidden[best], "o", color="black", markersize=15, fillstyle="none")
        panel.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="hidden units")
        panel.set_yticks([8, 16, 32, 64], ["8", "16", "32", "64"])
        panel.minorticks_off()
        panel.set_title(f"{title}, 16 trials: best {search.best_score_:.1%}")
    figure.colorbar(points, ax=panels[1], label="right on validation data (%)")
    panels[2].barh(list(parts), [100 * change for change in parts.values()])
    panels[2].axvline(0, color="black", linewidth=0.8)
    panels[2].invert_yaxis()
    panels[2].set(
        xlabel="change of accuracy (points)", ylabel="part left out", title="image network without a part"
    )
    picture = out / "18_hyperparameters.png"
    figure.savefig(picture, dpi=120)
    print(f"saved {picture}")

    best = max(grid, drawn, key=lambda search: search.best_score_)
    tested = best.best_estimator_.score(X[TEST], Y[TEST])
    rate, hidden = best.best_params_["learning_rate_init"], best.best_params_["hidden_layer_sizes"]
    print(
        f"best: learning rate {rate:.2g}, {hidden} hidden units: "
        f"{best.best_score_:.1%} on validation data, {tested:.1%} on test data"
    )


if __name__ == "__main__":
    main()
