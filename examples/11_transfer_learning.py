"""Transfer learning: a network trained on ten digits learns from few samples which of them are odd."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim

X, Y = rv.data.datasets.load_digits()
OLD, NEW, UNSEEN = slice(0, 1000), slice(1000, 1400), slice(1400, None)
SAMPLES = (10, 20, 40, 80)
DRAWS = 4  # which samples are labelled is random


def network(classes: int) -> nn.Sequential:
    """A body that finds features, and a head that classifies them."""
    body = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(128, 64), nn.ReLU()),
    )
    return nn.Sequential(body, nn.Linear(64, classes))


def from_scratch(state):
    model = network(2)
    return model, optim.Adam(model.parameters(), lr=0.003)


def frozen(state):
    """The body is frozen; only the new head is trained."""
    model = network(10)
    model.load_state_dict(state)
    model[0].requires_grad_(False)
    model[1] = nn.Linear(64, 2)
    return model, optim.Adam(model[1].parameters(), lr=0.003)


def fine_tuned(state):
    """The body is trained, too, at a tenth of the head's rate: each parameter group has its rate."""
    model = network(10)
    model.load_state_dict(state)
    model[1] = nn.Linear(64, 2)
    groups = [{"params": model[0].parameters(), "lr": 0.0003}, {"params": model[1].parameters()}]
    return model, optim.Adam(groups, lr=0.003)


def fit(model: nn.Sequential, optimizer, x, y, epochs: int, batch_size: int) -> rv.Trainer:
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer)
    trainer.fit(x, y, epochs=epochs, batch_size=batch_size)
    return trainer


def accuracies(start, state) -> np.ndarray:
    """(draws, numbers of samples): the share of unseen digits whose parity is right."""
    right = np.zeros((DRAWS, len(SAMPLES)))
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(np.arange(NEW.start, NEW.stop))
        for i, n in enumerate(SAMPLES):
            rv.manual_seed(draw)
            trainer = fit(*start(state), X[order[:n]], Y[order[:n]] % 2, epochs=40, batch_size=8)
            right[draw, i] = (trainer.predict(X[UNSEEN]) == Y[UNSEEN] % 2).mean()
    return right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    rv.manual_seed(0)
    known = network(10)
    trainer = fit(known, optim.Adam(known.parameters(), lr=0.003), X[OLD], Y[OLD], epochs=15, batch_size=32)
    print(f"the ten digits, from 1,000 samples: {(trainer.predict(X[UNSEEN]) == Y[UNSEEN]).mean():.1%} right")

    print("odd or even, by the number of samples with this label:")
    print(" " * 14 + "".join(f"{n:>8}" for n in SAMPLES))
    figure, panel = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    means = {}
    kinds = {"from scratch": from_scratch, "frozen body": frozen, "fine-tuned": fine_tuned}
    for (name, start), mark in zip(kinds.items(), "os^", strict=True):
        right = 100 * accuracies(start, known.state_dict())
        means[name] = right.mean(axis=0)
        print(f"{name:14}" + "".join(f"{mean:7.1f}%" for mean in means[name]))
        error = right.std(axis=0, ddof=1) / np.sqrt(DRAWS)
        panel.errorbar(SAMPLES, means[name], error, marker=mark, capsize=3, label=name)
    panel.set_xscale("log", base=2)
    panel.set_xticks(SAMPLES, [str(n) for n in SAMPLES])
    panel.set_xlabel("labelled samples")
    panel.set_ylabel("right on unseen digits (%)")
    panel.set_title(f"odd or even: mean of {DRAWS} draws, and its standard error")
    panel.legend()
    picture = out / "11_transfer_learning.png"
    figure.savefig(picture, dpi=120)
    print(f"saved {picture}")
    print(
        f"from {SAMPLES[-1]} samples: {means['from scratch'][-1]:.1f}% from scratch, "
        f"{means['frozen body'][-1]:.1f}% with the body frozen, {means['fine-tuned'][-1]:.1f}% fine-tuned"
    )


if __name__ == "__main__":
    main()
