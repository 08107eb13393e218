"""A network as an ONNX file: written, drawn as a graph of operators, read again and trained further."""

import argparse
import re
from pathlib import Path

import numpy as np
import ranvier as rv
from ranvier import nn, optim


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(144, 10),
    )


def trained(model: nn.Module, x: np.ndarray, y: np.ndarray, epochs: int) -> nn.Module:
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    rv.Trainer(model, nn.CrossEntropyLoss(), optimizer).fit(x, y, epochs=epochs, batch_size=32)
    return model


def accuracy(model: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    with rv.no_grad():
        return float((model.eval()(x).argmax(1).numpy() == y).mean())


def draw(proto, path: Path) -> None:
    """The operators from left to right, with the shapes of the weights that they use."""
    import matplotlib.pyplot as plt

    shapes = {weight.name: tuple(weight.dims) for weight in proto.graph.initializer}
    nodes = [node for node in proto.graph.node if node.op_type != "Constant"]
    figure, ax = plt.subplots(figsize=(1.9 * len(nodes), 2.6))
    for place, node in enumerate(nodes):
        used = "\n".join(f"{name} {shapes[name]}" for name in node.input if name in shapes)
        box = {"boxstyle": "round,pad=0.6", "facecolor": "#FFF6C8", "edgecolor": "#222222"}
        words = re.sub("(?<=[a-z])(?=[A-Z])", "\n", node.op_type)
        ax.text(place, 1, words, ha="center", va="center", bbox=box, fontsize=9)
        ax.text(place, 0.75, used, ha="center", va="top", fontsize=6.5)
        if place:
            ax.annotate("", (place - 0.38, 1), (place - 0.6, 1), arrowprops={"arrowstyle": "-|>"})
    ax.set(
        xlim=(-0.6, len(nodes) - 0.4), ylim=(0.2, 1.3), title="The operators of the file, and their weights"
    )
    ax.axis("off")
    figure.savefig(path, dpi=100, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    rv.manual_seed(0)
    x, y = rv.data.datasets.load_digits()
    x_train, x_test, y_train, y_test = rv.data.train_test_split(x, y, test_size=0.25, random_state=0)
    model = trained(network(), x_train, y_train, epochs=1)
    print(f"after one epoch: accuracy {accuracy(model, x_test, y_test):.3f}")

    file = out / "digits.onnx"  # the batch may have any size; all other sizes are fixed
    proto = rv.onnx.export(model, x[:2], file, input_names=["images"], dynamic_axes={"images": {0: "batch"}})
    print(f"{file.name}: {file.stat().st_size:,} bytes, {len(proto.graph.node)} nodes")
    draw(proto, out / "40_onnx.png")

    again = rv.onnx.load(file)  # a module without the class that made it
    with rv.no_grad():
        difference = float(np.abs(again(x_test).numpy() - model(x_test).numpy()).max())
    print(f"largest difference between the outputs: {difference:.1e}")
    print("parameters:", ", ".join(name for name, _ in again.named_parameters()))

    trained(again, x_train, y_train, epochs=4)
    print(f"accuracy of the loaded network after four more epochs: {accuracy(again, x_test, y_test):.3f}")


if __name__ == "__main__":
    main()
