"""A perceptron learns AND and OR from its mistakes. It cannot learn XOR, and the program proves that."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
COLOURS = ("#0072B2", "#D55E00", "#009E73")
GATES = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "XOR": [0, 1, 1, 0]}


class Perceptron:
    """The output is 1 if w x + b > 0, else 0. After a wrong output w and b move towards x or away from it."""

    def __init__(self, targets: list[int]) -> None:
        self.weights = np.zeros(3)  # w, then b
        self.errors: list[int] = []  # mistakes of each epoch
        self.proof: np.ndarray | None = None
        counts, seen = np.zeros(4, int), {}  # mistakes with each point; what they were for each value of w, b
        while not (self.learnt or self.proof is not None):
            self.errors.append(0)
            for i, (x, target) in enumerate(zip(INPUTS, targets, strict=True)):
                wrong = target - (self.weights @ [*x, 1] > 0)
                self.weights += wrong * np.array([*x, 1])
                counts[i] += abs(wrong)
                self.errors[-1] += abs(int(wrong))
            # Weights that come back: between the two times the moves add up to 0, which no line allows,
            # since each of them is towards its own side (Gordan 1873).
            before = seen.setdefault(tuple(self.weights), counts.copy())
            self.proof = counts - before if (counts > before).any() else None

    @property
    def learnt(self) -> bool:
        return bool(self.errors) and self.errors[-1] == 0

    def draw(self, ax, name: str) -> None:
        sides = np.array([-0.4, 1.4])
        for output, mark in ((0, "o"), (1, "s")):
            here = INPUTS[np.array(GATES[name]) == output]
            ax.plot(*here.T, mark, color=COLOURS[output], markersize=11, label=f"output {output}")
        (a, c), b = self.weights[:2], self.weights[2]  # the boundary: a x + c y + b = 0
        if c:
            ax.plot(sides, -(a * sides + b) / c, "k-", label="boundary (on it: 0)")
        verdict = "learnt" if self.learnt else "proved impossible"
        ax.set(xlim=sides, ylim=sides, title=f"{name}: {verdict}")
        ax.set(xlabel="first input", ylabel="second input", xticks=[0, 1], yticks=[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    gates = {name: Perceptron(targets) for name, targets in GATES.items()}
    for name, gate in gates.items():
        print(f"{name}: w = {gate.weights[:2]}, b = {gate.weights[2]:g}, mistakes by epoch {gate.errors}")

    # Why no line separates XOR: the two points that should be above the line have the same sum as the two
    # that should be below it, and no point is on both sides.
    proof = gates["XOR"].proof
    print(f"XOR: each point counted {proof} times, (0, 1) + (1, 0) = (0, 0) + (1, 1)")

    figure, panels = plt.subplots(1, 4, figsize=(14, 3.9), layout="constrained")
    for panel, (name, gate) in zip(panels, gates.items(), strict=False):
        gate.draw(panel, name)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    for (name, gate), style, colour in zip(gates.items(), ("o-", "s--", "D:"), COLOURS, strict=True):
        panels[3].plot(range(1, len(gate.errors) + 1), gate.errors, style, color=colour, label=name)
    panels[3].set(xlabel="epoch", ylabel="mistakes", title="mistakes by epoch", yticks=range(5))
    panels[3].legend()
    figure.savefig(out / "02_perceptron.png", dpi=100)
    epochs = ", ".join(f"{name} after {len(gates[name].errors)} epochs" for name in ("AND", "OR"))
    print(f"learnt: {epochs}; XOR: proved inseparable by a certificate of {sum(proof)} points")


if __name__ == "__main__":
    main()
