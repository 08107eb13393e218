"""Kernels by hand: nine numbers that slide over an image find its edges, blur it or sharpen it."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv

# Kernels of edges and derivatives add up to 0, the others to 1: they keep the brightness.
ROWS = {
    "identity": ((0, 0, 0), (0, 1, 0), (0, 0, 0)),
    "edge": ((-1, -1, -1), (-1, 8, -1), (-1, -1, -1)),
    "vertical_edge": ((-1, 0, 1), (-1, 0, 1), (-1, 0, 1)),  # Prewitt's
    "horizontal_edge": ((-1, -1, -1), (0, 0, 0), (1, 1, 1)),
    "sobel_x": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
    "sobel_y": ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
    "laplacian": ((0, 1, 0), (1, -4, 1), (0, 1, 0)),
    "blur": ((1 / 9,) * 3,) * 3,
    "gaussian": ((1 / 16, 2 / 16, 1 / 16), (2 / 16, 4 / 16, 2 / 16), (1 / 16, 2 / 16, 1 / 16)),
    "sharpen": ((0, -1, 0), (-1, 5, -1), (0, -1, 0)),
    "emboss": ((-2, -1, 0), (-1, 1, 1), (0, 1, 2)),
}
KERNELS = {name: np.array(rows, np.float32) for name, rows in ROWS.items()}
SIGNED = {"edge", "vertical_edge", "horizontal_edge", "sobel_x", "sobel_y", "laplacian"}


def filter_image(image: np.ndarray, name: str) -> np.ndarray:
    """Slide a kernel over an image: at each place the sum of nine products."""
    image = image.astype(np.float32)[None, None]  # (images, channels, height, width)
    return rv.conv2d(image, KERNELS[name][None, None])[0, 0].numpy()


def scene(size: int = 96) -> np.ndarray:
    """A disc, a frame and a slanted bar on a background that is brighter at the bottom; values 0 to 1."""
    row, column = np.mgrid[0:size, 0:size] / size
    image = 0.15 + 0.25 * row
    image[(row - 0.3) ** 2 + (column - 0.3) ** 2 < 0.2**2] = 0.95
    image[(row > 0.55) & (row < 0.9) & (column > 0.12) & (column < 0.47)] = 0.8
    image[(row > 0.62) & (row < 0.83) & (column > 0.19) & (column < 0.4)] = 0.3
    image[abs(column - 0.72 + 0.25 * (row - 0.5)) < 0.06] = 0.0
    noise = np.random.default_rng(0).normal(0, 0.02, image.shape)
    return (image + noise).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    # A small image first: its left half is 0, its right half 255.
    halves = np.repeat([[0, 0, 0, 0, 255, 255, 255, 255]], 8, axis=0)
    upright = filter_image(halves, "vertical_edge")
    level = filter_image(halves, "horizontal_edge")
    print("the kernel for upright edges:")
    print(KERNELS["vertical_edge"].astype(int))
    print("its answers along a row of the image of two halves:", upright[0].astype(int))

    # Now every kernel on a larger scene. The two directions of the gradient together show every edge.
    image = scene()
    answers = {name: filter_image(image, name) for name in KERNELS}
    answers["sobel, both"] = np.hypot(answers["sobel_x"], answers["sobel_y"])

    figure, panels = plt.subplots(3, 4, figsize=(10, 7.2), sharex=True, sharey=True, layout="constrained")
    for panel, (name, answer) in zip(panels.flat, answers.items(), strict=True):
        if name in SIGNED:  # red above 0, blue below
            most = np.abs(answer).max()
            shown = panel.imshow(answer, cmap="RdBu", vmin=-most, vmax=most)
        else:
            shown = panel.imshow(answer, cmap="gray")
        figure.colorbar(shown, ax=panel, fraction=0.046, pad=0.04)
        panel.set_title(name.replace("_", " "))
    for panel in panels[-1]:
        panel.set_xlabel("column")
    for panel in panels[:, 0]:
        panel.set_ylabel("row")
    picture = out / "08_filters.png"
    figure.savefig(picture, dpi=120)
    print(f"saved {picture}")
    print(
        f"an upright edge of 255: the kernel for upright edges answers {upright.max():.0f}, "
        f"that for level edges {np.abs(level).max():.0f}"
    )


if __name__ == "__main__":
    main()
