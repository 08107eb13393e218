"""Sixteen exercises that check themselves, each solved here with a few lines of the library."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn
from ranvier.explore import exercises

TRAINING = [1.1, 0.6, 0.35, 0.2, 0.1, 0.05]
VALIDATION = [1.1, 0.7, 0.55, 0.6, 0.75, 0.95]
AND = [1, 1, -1.5]
XOR = [[1, 1, -0.5], [1, 1, -1.5], [1, -1, -0.5]]  # at least one, both, and the first without the second


def units() -> dict[int, object]:
    neuron = nn.Neuron.with_weights([0.4, -0.2, 0.1], bias=0.5, activation="sigmoid")
    return {
        1: neuron.z([2, 3, 10]).item(),
        2: neuron([2, 3, 10]).item(),
        3: AND,
        4: XOR,
        5: rv.softmax(rv.tensor([1.0, 2.0, 3.0]), dim=0).numpy(),
        6: rv.derivative("sigmoid", 1.0).item(),
    }


def gradients() -> dict[int, object]:
    w, v = rv.tensor(2.0, requires_grad=True), rv.tensor(-1.0, requires_grad=True)
    loss = (v * rv.relu(w * 3) - -4) ** 2
    loss.backward()
    slopes = np.array([w.grad.item(), v.grad.item()])
    return {
        8: rv.bce(rv.tensor([0.9, 0.2, 0.6]), rv.tensor([1.0, 0.0, 0.0])).item(),
        9: slopes,
        10: np.array([2, -1]) - 0.05 * slopes,
    }


def networks() -> dict[int, object]:
    first, second = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3, padding=1)
    pool = nn.MaxPool2d(2)
    features = pool(second(pool(first(rv.zeros(1, 1, 28, 28)))))
    h = nn.Linear(1, 1)
    h.load_state_dict({"weight": [[3.0]], "bias": [1.0]})
    y = nn.Linear(1, 1)
    y.load_state_dict({"weight": [[2.0]], "bias": [-4.0]})
    one = rv.explore.collapse(nn.Sequential(h, y)).layer
    return {
        7: sum(p.numel() for p in rv.mlp([4, 5, 3, 2]).parameters()),
        11: features.numel(),
        12: rv.explore.KERNELS["vertical_edge"],
        13: -(-1000 // 64) * 5,  # the last batch of an epoch is a smaller one
        14: rv.explore.judge_fit({"loss": TRAINING, "val_loss": VALIDATION}).verdict,
        15: np.sqrt(2 / 200),
        16: [one.weight.item(), one.bias.item()],
    }


def draw(path: Path) -> None:
    """The three neurons of exercise 4 over the plane, and the curves of exercise 14."""
    plt.style.use("tableau-colorblind10")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    side = np.linspace(-0.5, 1.5, 201)
    x = np.stack(np.meshgrid(side, side), axis=-1)
    some, both = ((x @ row[:2] + row[2] > 0).astype(float) for row in XOR[:2])
    left.contourf(side, side, some - both, levels=[-0.5, 0.5, 1.5], colors=["#FFFFFF", "#56B4E9"], alpha=0.6)
    for row, style in zip(XOR[:2], ("-", "--"), strict=True):
        left.plot(side, -row[2] - side, "k" + style, label=f"{row[0]} x1 + {row[1]} x2 - {-row[2]} = 0")
    left.plot([0, 1], [1, 0], "s", color="black", label="exactly one input is 1")
    left.plot([0, 1], [0, 1], "o", color="black", fillstyle="none", label="none or both")
    left.set(
        xlim=(-0.5, 1.5), ylim=(-0.5, 1.5), xlabel="x1", ylabel="x2", title="exercise 4: XOR by three neurons"
    )
    left.legend(fontsize=8, loc="upper right")
    epochs = range(1, len(TRAINING) + 1)
    right.plot(epochs, TRAINING, "o-", label="training")
    right.plot(epochs, VALIDATION, "s--", label="validation")
    right.set(xlabel="epoch", ylabel="loss", title="exercise 14: learnt by heart from epoch 3 on")
    right.grid(alpha=0.3)
    right.legend()
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    exercises.show(7)
    print(f"a wrong answer, 45: {exercises.check(7, 45)}\n")

    answers = {**units(), **gradients(), **networks()}
    right = 0
    for title, number in zip(exercises.list(), sorted(answers), strict=True):
        judged = exercises.check(number, answers[number])
        right += bool(judged)
        print(f"{title:<36} {judged}")
    draw(out / "39_exercises.png")
    print(f"right: {right} of {len(answers)}")


if __name__ == "__main__":
    main()
