"""Regression: one hidden layer approximates a curve, more closely with more units."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn, optim


def curve(x):
    return np.sin(2 * x) + 0.5 * np.cos(5 * x)


def fitted(units: int, x, y) -> nn.Module:
    """A network of one hidden layer; its output has no activation, as any value may be right."""
    rv.manual_seed(0)
    if units:
        model: nn.Module = nn.Sequential(nn.Linear(1, units), nn.Tanh(), nn.Linear(units, 1))
    else:
        model = nn.Linear(1, 1)
    optimizer = optim.LBFGS(model.parameters(), max_iter=600, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, (200, 1)).astype(np.float32)
    y = curve(x) + 0.1 * rng.standard_normal(x.shape).astype(np.float32)  # measured, with an error of 0.1
    grid = np.linspace(-3, 3, 400, dtype=np.float32)[:, None]

    plt.style.use("tableau-colorblind10")
    figure, panels = plt.subplots(2, 2, figsize=(9, 6), sharex=True, sharey=True, layout="constrained")
    errors = []
    for panel, units in zip(panels.flat, (0, 2, 6, 32), strict=True):
        model = fitted(units, rv.tensor(x), rv.tensor(y))
        with rv.no_grad():
            line = model(rv.tensor(grid)).numpy()
        errors.append(rv.metrics.root_mean_squared_error(curve(grid), line))
        name = f"{units} hidden units" if units else "a linear model"
        print(f"{name:<16} error against the true curve {errors[-1]:.3f}")
        panel.plot(x, y, ".", color="gray", markersize=3, label="measured")
        panel.plot(grid, curve(grid), "--", label="true")
        panel.plot(grid, line, linewidth=2, label="network")
        panel.set_title(f"{name}: error {errors[-1]:.2f}", fontsize=10)
        panel.set(xlabel="x", ylabel="y")
        panel.label_outer()
        panel.grid(alpha=0.3)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(out / "29_regression.png", dpi=110)
    print(f"error of a line {errors[0]:.3f}, of 32 units {errors[-1]:.3f}; each measurement is off by 0.1")


if __name__ == "__main__":
    main()
