"""A perceptron learns AND and OR from its mistakes. It cannot learn XOR, and the program proves that."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
COLOURS = ("#0072B2", "#D55E00", "#009E73")
GATES = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "XOR": [0, 1, 1, 0]}


def draw_gate(ax, name: str, gate: rv.explore.Perceptron) -> None:
    low, high = np.array([-0.4, -0.4]), np.array([1.4, 1.4])
    for output, mark in ((0, "o"), (1, "s")):
        here = INPUTS[np.array(GATES[name]) == output]
        ax.plot(*here.T, mark, color=COLOURS[output], markersize=11, label=f"output {output}")
    ax.plot(*gate.neuron.boundary(low, high).T, "k-", label="boundary (on it: 0)")
    verdict = {True: "learnt", False: "proved impossible", None: "not learnt, so far"}[gate.separable_]
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), title=f"{name}: {verdict}")
    ax.set(xlabel="first input", ylabel="second input", xticks=[0, 1], yticks=[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    # The output is 1 if w x + b > 0, else 0. After a wrong output w moves towards x or away from it.
    gates = {name: rv.explore.Perceptron(max_iter=20).fit(INPUTS, said) for name, said in GATES.items()}
    for name, gate in gates.items():
        print(f"{name}: {gate.verdict_}")
        print(f"  w = {gate.coef_[0]}, b = {gate.intercept_[0]:g}, says {gate.predict(INPUTS).tolist()}")
        print(f"  mistakes of the first epochs: {gate.errors_[:6]}")

    # Why no line separates XOR: the two points that should be above the line have the same sum as the two
    # that should be below it, and no point is on both sides.
    proof = gates["XOR"].certificate_
    print(f"XOR: each point counted {proof} times, (0, 1) + (1, 0) = (0, 0) + (1, 1)")

    figure, panels = plt.subplots(1, 4, figsize=(14, 3.9), layout="constrained")
    for panel, (name, gate) in zip(panels, gates.items(), strict=False):
        draw_gate(panel, name, gate)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    for (name, gate), style, colour in zip(gates.items(), ("o-", "s--", "D:"), COLOURS, strict=True):
        epochs = range(1, gate.n_iter_ + 1)
        panels[3].plot(epochs, gate.errors_, style, color=colour, markersize=4, label=name)
    panels[3].set(xlabel="epoch", ylabel="mistakes", title="mistakes by epoch", yticks=range(5))
    panels[3].legend()
    figure.savefig(out / "02_perceptron.png", dpi=100)
    epochs = ", ".join(f"{name} after {gates[name].n_iter_} epochs" for name in ("AND", "OR"))
    print(f"learnt: {epochs}; XOR: proved inseparable by a certificate of {sum(proof)} points")


if __name__ == "__main__":
    main()
