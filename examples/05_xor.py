"""XOR: no straight line separates it, but the lines of four hidden neurons together do."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([[0], [1], [1], [0]], np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    # 2 inputs, 4 hidden neurons, 1 output: 4 x 2 + 4 weights and biases, then 4 + 1.
    rv.manual_seed(0)
    model = rv.mlp([2, 4, 1], activation="tanh", init="xavier", output="sigmoid")
    before = model(X).detach().numpy()[:, 0]
    trainer = rv.Trainer(model, nn.BCELoss(), optim.Adam(model.parameters(), lr=0.1))
    history = trainer.fit(X, Y, epochs=300, batch_size=4)
    after = model(X).detach().numpy()[:, 0]
    for (a, b), wanted, first, last in zip(X, Y[:, 0], before, after, strict=True):
        print(f"{a:.0f} xor {b:.0f} = {wanted:.0f}   before training {first:.3f}, after it {last:.3f}")

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained")
    rv.plot.network(model, input_names=["a", "b"], output_names=["a xor b"], ax=left)
    middle.semilogy(range(1, len(history["loss"]) + 1), history["loss"])
    middle.set(xlabel="epoch", ylabel="loss (cross-entropy)", title="training")
    middle.grid(alpha=0.3)
    rv.plot.decision_boundary(model, X, Y[:, 0], ["0", "1"], feature_names=["a", "b"], ax=right)
    sides = np.array([right.get_xlim(), right.get_ylim()])
    for i in range(4):  # where each hidden neuron changes its sign
        (a, b), c = model[0].weight[i].tolist(), model[0].bias[i].item()  # a x + b y + c = 0
        line = -(a * sides[0] + c) / b
        right.plot(sides[0], line, ":", color="black", linewidth=1.2, label="" if i else "hidden neurons")
    right.set(xlim=sides[0], ylim=sides[1])
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3)
    figure.savefig(out / "05_xor.png", dpi=90)
    score = int(np.sum((after > 0.5) == (Y[:, 0] > 0.5)))
    first, last = history["loss"][0], history["loss"][-1]
    print(f"right: {score} of 4; the loss fell from {first:.3f} to {last:.4f}")


if __name__ == "__main__":
    main()
