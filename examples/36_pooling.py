"""From pixels to features: an edge, ReLU, max-pooling, a flat vector, and the effect of a small shift."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv


def by_hand(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolution by its definition: at each place a sum of nine products."""
    height, width = image.shape[0] - 2, image.shape[1] - 2
    result = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            result[i, j] = (image[i : i + 3, j : j + 3] * kernel).sum()
    return result


def stages(image: np.ndarray, kernel: np.ndarray) -> dict[str, rv.Tensor]:
    """The image after each stage. Layers want (images, channels, height, width): here one of each."""
    x = rv.tensor(image)[None, None]
    found = rv.conv2d(x, rv.tensor(kernel)[None, None])
    kept = rv.relu(found)
    return {"image": x, "convolution": found, "ReLU": kept, "max-pooling": rv.max_pool2d(kept, 2)}


def unchanged_after_a_shift(rng: np.random.Generator, kernel: np.ndarray) -> tuple[float, float]:
    """Correlation of a picture with itself shifted by one pixel, before and after pooling by 4."""
    digits, _ = rv.data.datasets.load_digits()
    chosen = rng.choice(len(digits), 200, replace=False)
    big = rv.interpolate(digits[chosen], size=(28, 28), mode="bilinear").numpy()
    maps = rv.relu(rv.conv2d(big, kernel[None, None]))
    moved = rv.relu(rv.conv2d(np.roll(big, 1, axis=3), kernel[None, None]))

    def likeness(a: rv.Tensor, b: rv.Tensor) -> float:
        return rv.cosine_similarity(a.flatten(1), b.flatten(1), dim=1).mean().item()

    return likeness(maps, moved), likeness(rv.max_pool2d(maps, 4), rv.max_pool2d(moved, 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    image = np.zeros((8, 8), np.float32)
    image[:, 4:] = 255  # dark on the left, bright on the right
    image[5:, 1] = 255  # and a thin line; at its right the kernel's result is negative
    kernel = np.array([[-1, 0, 1]] * 3, np.float32)

    made = stages(image, kernel)
    assert np.array_equal(by_hand(image, kernel), made["convolution"].numpy()[0, 0])
    for name, x in made.items():
        low, high = x.min().item(), x.max().item()
        print(f"{name:<12} {tuple(x.shape[2:])}  {x.numel():>2} values, from {low:g} to {high:g}")
    flat = made["max-pooling"].flatten()
    print(f"{'flattened':<12} {tuple(flat.shape)}    {flat.tolist()}")

    figure, panels = plt.subplots(1, 4, figsize=(14, 3.6), layout="constrained")
    for panel, (name, x) in zip(panels, made.items(), strict=True):
        rv.plot.heatmap(x[0, 0], title=f"{name}: {x.shape[2]} x {x.shape[3]}", x="column", y="row", ax=panel)
    figure.savefig(out / "36_pooling.png", dpi=90)

    before, after = unchanged_after_a_shift(np.random.default_rng(0), kernel)
    print("digits moved by one pixel, and how like themselves their edges stay (cosine):")
    print(f"{before:.3f} before pooling, {after:.3f} after it, with a sixteenth of the values")


if __name__ == "__main__":
    main()
