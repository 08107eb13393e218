"""Loss functions: the loss of a wrong prediction, and which loss to use for which task."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import ranvier as rv
import ranvier.nn.functional as F


def regression() -> None:
    """Values: one large error dominates the squared error, not the absolute error; Huber's is in between."""
    truth = rv.tensor([3.0, -0.5, 2.0, 7.0])
    close = rv.tensor([2.5, 0.0, 2.0, 8.0])
    outlier = rv.tensor([2.5, 0.0, 2.0, 17.0])
    print("regression, predictions close to the truth, then one of them 10 off:")
    for name, loss in (("mse", F.mse_loss), ("l1", F.l1_loss), ("huber", F.huber_loss)):
        before, after = loss(close, truth).item(), loss(outlier, truth).item()
        print(f"  {name:<6} {before:8.4f} -> {after:8.4f}   times {after / before:.0f}")

    prices = rv.tensor([300_000.0, 450_000.0, 200_000.0, 600_000.0])
    guesses = rv.tensor([320_000.0, 430_000.0, 180_000.0, 580_000.0])
    error = F.mse_loss(guesses, prices)
    print(f"  houses: mse {error.item():.3g}, its root is in the price's unit: {error.sqrt().item():,.0f}")


def yes_or_no() -> None:
    """Two classes: -log of the probability of the true class. Confident wrong predictions cost most."""
    spam = rv.tensor([1.0, 0.0, 1.0, 1.0])
    print("\ntwo classes, binary cross-entropy:")
    for name, given in (
        ("good", [0.9, 0.1, 0.8, 0.7]),
        ("no idea", [0.5, 0.5, 0.5, 0.5]),
        ("the contrary", [0.1, 0.9, 0.2, 0.3]),
        ("perfect", [1.0, 0.0, 1.0, 1.0]),
    ):
        print(f"  {name:<13} {given}  {F.binary_cross_entropy(rv.tensor(given), spam).item():.5f}")
    # Computed from the logits, the same loss is exact where the sigmoid would round to 0 or 1.
    score, yes = rv.tensor([-200.0]), rv.tensor([1.0])
    print(f"  score -200 for a yes: {F.binary_cross_entropy_with_logits(score, yes).item():.0f}")


def one_of_several() -> float:
    """Several classes: the same for the true class. The network gives logits; the loss applies softmax."""
    shares = rv.tensor([[0.8, 0.15, 0.05], [0.3, 0.6, 0.1], [0.1, 0.2, 0.7]])
    truth = rv.tensor([0, 1, 2])
    each = F.cross_entropy(shares.log(), truth, reduction="none")
    print("\nthree classes, cross-entropy of each sample:", *(f"{loss:.4f}" for loss in each.tolist()))
    one_hot = rv.one_hot(truth, 3).to(rv.float32)
    print(f"  with one-hot targets the same mean: {F.cross_entropy(shares.log(), one_hot).item():.4f}")
    none = F.cross_entropy(rv.zeros(3, 3), truth).item()
    print(f"  no idea costs log 3 = {none:.4f}: what a run begins with")
    return each.mean().item()


def draw(path: Path) -> None:
    """How much a wrong prediction costs: of a value, of a probability, of a logit."""
    error, chance, score = rv.linspace(-3, 3, 301), rv.linspace(0.001, 0.999, 301), rv.linspace(-4, 4, 301)
    nothing, one = rv.zeros(301), rv.ones(301)
    curves = [
        (
            "prediction - target",
            error,
            {"squared": F.mse_loss, "absolute": F.l1_loss, "Huber's": F.huber_loss},
            nothing,
        ),
        (
            "probability, target 1",
            chance,
            {"cross-entropy": F.binary_cross_entropy, "squared": F.mse_loss},
            one,
        ),
        ("logit, target 1", score, {"cross-entropy": F.binary_cross_entropy_with_logits}, one),
    ]
    figure, panels = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for panel, (text, x, losses, target) in zip(panels, curves, strict=True):
        for (name, loss), dash in zip(losses.items(), ("-", "--", "-."), strict=False):
            panel.plot(x, loss(x, target, reduction="none"), dash, label=name)
        panel.set(xlabel=text, ylabel="loss", ylim=(-0.2, 5))
        panel.grid(alpha=0.3)
        panel.legend()
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    regression()
    yes_or_no()
    mean = one_of_several()
    draw(out / "22_losses.png")
    print(f"mean of -log 0.8, -log 0.6 and -log 0.7: {mean:.4f}")


if __name__ == "__main__":
    main()
