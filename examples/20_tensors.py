"""Tensors: numbers, vectors, matrices, images and batches of images, and which shapes fit together."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv


def describe(name: str, tensor: rv.Tensor) -> None:
    shape = str(tuple(tensor.shape))
    print(f"{name:<16} rank {tensor.ndim}   shape {shape:<18} {tensor.numel():>8,} x {tensor.dtype}")


def ranks() -> None:
    """A tensor's rank is how many indices one element needs."""
    rv.manual_seed(0)
    photo = rv.randint(0, 256, (224, 224, 3), dtype=rv.int32)  # red, green, blue of each pixel: 0 to 255
    describe("number", rv.tensor(42.0))
    describe("vector", rv.tensor([1.0, 2.0, 3.0, 4.0]))
    describe("matrix", rv.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    describe("cube of integers", rv.tensor([[[1, 2], [3, 4]], [[5, 6], [7, 8]]]))
    describe("photo", photo)

    # Layers want float images with the channels first, several at once: (images, channels, height, width).
    batch = rv.stack([photo, photo]).permute(0, 3, 1, 2).to(rv.float32) / 255
    describe("batch of photos", batch)


def dtypes() -> None:
    """Integers count and index; learned values are floats."""
    whole = rv.tensor([1, 2, 3])
    print(f"\n{whole.dtype} / 2 is {whole / 2}")
    print(f"{whole.dtype} + 0.5 is {whole + 0.5}")


def broadcasting() -> None:
    """Shapes are compared from the right; an axis of length 1 is repeated to fit the other's."""
    column, row = rv.arange(3).reshape(3, 1), rv.arange(4)
    table = column * row
    print(f"\n{tuple(column.shape)} * {tuple(row.shape)} is {tuple(table.shape)}: a multiplication table")
    print(table.numpy())
    try:
        rv.ones(3, 4) + rv.ones(3)  # 4 and 3 do not fit, from the right
    except ValueError as error:
        print(f"refused: {error}")


def layer() -> tuple[rv.Tensor, rv.Tensor, rv.Tensor]:
    """A dense layer is a product and a broadcast sum: (3, 4) @ (4, 2) + (2,) is (3, 2)."""
    samples = rv.tensor([[1.0, 2.0, 3.0, 4.0], [0.5, 1.5, 2.5, 3.5], [2.0, 1.0, 4.0, 3.0]])
    weights = rv.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]])  # (features, units)
    bias = rv.tensor([0.1, -0.1])  # one for each unit, added to every row
    return samples, weights, samples @ weights + bias


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    ranks()
    dtypes()
    broadcasting()

    samples, weights, output = layer()
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
    drawn = [("samples", samples, "feature", "sample"), ("weights", weights, "unit", "feature")]
    drawn.append(("output", output, "unit", "sample"))
    for panel, (title, tensor, x, y) in zip(panels, drawn, strict=True):
        rv.plot.heatmap(tensor, title=f"{title}: {tuple(tensor.shape)}", x=x, y=y, ax=panel)
    figure.savefig(out / "20_tensors.png", dpi=120)

    by_hand = np.array([[5.1, 5.9], [4.3, 4.9], [4.7, 5.5]])  # 0.1 + 0.6 + 1.5 + 2.8 + 0.1 = 5.1 ...
    print(f"\nlayer:\n{output.numpy()}")
    difference = np.abs(output.numpy() - by_hand).max()
    print(f"largest difference from the sums worked out by hand: {difference:.1e}")


if __name__ == "__main__":
    main()
