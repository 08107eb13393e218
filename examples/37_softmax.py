"""Softmax: from scores to probabilities; the effect of large scores, a constant and a temperature."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv

NAMES = ["laptop", "tablet", "phone"]
SCORES = [2.0, 1.0, 0.1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    scores = rv.tensor(SCORES)
    shares = rv.softmax(scores, dim=0)
    for name, score, share in zip(NAMES, SCORES, shares.tolist(), strict=True):
        print(f"{name:<7} score {score:.1f}, e^score {np.exp(score):.3f}, probability {share:.3f}")

    # Only differences count, so the largest score may be subtracted first: then exp cannot overflow.
    with np.errstate(over="ignore", invalid="ignore"):
        plain = np.exp(np.float32([1000, 999])) / np.exp(np.float32([1000, 999])).sum()
    safe = rv.softmax(rv.tensor([1000.0, 999.0]), dim=0).numpy()
    print(f"scores 1000 and 999: by the formula as it stands {plain}, by rv.softmax {safe}")
    # log_softmax has no underflow, because the small probability itself is never computed.
    far = rv.log_softmax(rv.tensor([0.0, -200.0]), dim=0)[1].item()
    print(f"log of the probability of a score that is 200 lower: {far:g}")

    # Two classes: softmax is the sigmoid of the difference.
    first, sigmoid = rv.softmax(rv.tensor([1.5, 0.5]), dim=0)[0].item(), rv.sigmoid(rv.tensor(1.0)).item()
    print(f"softmax of (1.5, 0.5) gives the first {first:.4f}, sigmoid(1.5 - 0.5) is {sigmoid:.4f}")

    plt.style.use("tableau-colorblind10")
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    for panel, values, title in (
        (left, SCORES, "scores"),
        (middle, shares.tolist(), "softmax: probabilities"),
    ):
        bars = panel.bar(NAMES, values)
        panel.bar_label(bars, fmt="%.3g")
        panel.set(title=title, ylabel=title.split()[-1], ylim=(0, 1.15 * max(values)))
    temperatures = np.geomspace(0.1, 10, 100)
    warm = np.stack([rv.softmax(scores / float(t), dim=0).numpy() for t in temperatures])
    for name, line, style in zip(NAMES, warm.T, ("-", "--", "-."), strict=True):
        right.semilogx(temperatures, line, style, label=name)
    right.axhline(1 / 3, color="gray", linewidth=0.8, linestyle=":")
    right.set(
        title="scores divided by a temperature", xlabel="temperature", ylabel="probability", ylim=(0, 1.03)
    )
    right.legend()
    figure.savefig(out / "37_softmax.png", dpi=100)
    print(f"sum of the probabilities: {shares.sum().item():.6f}")


if __name__ == "__main__":
    main()
