"""A diffusion model: a network that predicts noise turns noise into moons, step by step."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn, optim

STEPS = 50  # from data (0) to pure noise (49)
BETAS = np.linspace(1e-4, 0.15, STEPS, dtype=np.float32)  # how much noise each step adds
KEPT = np.cumprod(1 - BETAS)  # the share of the data's variance left after each step


class Denoiser(nn.Module):
    """Predicts the noise in a point from the noisy point and its step."""

    def __init__(self) -> None:
        super().__init__()
        self.when = nn.Embedding(STEPS, 32)
        self.body = rv.mlp([2 + 12 + 32, 128, 128, 128, 2])

    def forward(self, x, step):
        waves = [wave(k * x) for k in (1, 2, 4) for wave in (rv.sin, rv.cos)]  # for fine shapes
        return self.body(rv.cat([x, *waves, self.when(step)], dim=1))


def trained(points: np.ndarray, updates: int = 3000) -> Denoiser:
    """Noise is added to each point, for a random step, and the network learns to predict it."""
    rng = np.random.default_rng(0)
    rv.manual_seed(0)
    model = Denoiser()
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)

    @rv.compile
    def update(noisy, step, noise):
        optimizer.zero_grad()
        loss = F.mse_loss(model(noisy, step), noise)
        loss.backward()
        optimizer.step()
        return loss

    losses = []
    for _ in range(updates):
        clean = points[rng.integers(0, len(points), 256)]
        step = rng.integers(0, STEPS, 256)
        noise = rng.standard_normal(clean.shape, dtype=np.float32)
        kept = KEPT[step][:, None]
        losses.append(update(np.sqrt(kept) * clean + np.sqrt(1 - kept) * noise, step, noise).item())
        schedule.step()
    first, last = np.mean(losses[:50]), np.mean(losses[-500:])
    print(f"mean squared error of the guessed noise: {first:.3f} at first, {last:.3f} at last")
    return model


def made(model: Denoiser, count: int) -> list[np.ndarray]:
    """Points that begin as noise, after each reverse step (Ho, Jain and Abbeel, 2020, algorithm 2)."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((count, 2), dtype=np.float32)
    states = [x]
    model.eval()
    for t in reversed(range(STEPS)):
        with rv.no_grad():
            noise = model(rv.tensor(x), rv.tensor(np.full(count, t))).numpy()
        x = (x - BETAS[t] / np.sqrt(1 - KEPT[t]) * noise) / np.sqrt(1 - BETAS[t])
        if t > 0:
            x = x + np.sqrt(BETAS[t]) * rng.standard_normal(x.shape, dtype=np.float32)
        states.append(x)
    return states


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance of the points of `a` from the nearest of `b`."""
    return float(np.sqrt(((a[:, None] - b) ** 2).sum(-1)).min(axis=1).mean())


def moons(n: int) -> np.ndarray:
    """Two interleaved half circles, n points on each, with noise."""
    angle = np.linspace(0, np.pi, n)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.concatenate([upper, [1.0, 0.5] - upper])
    return (points + np.random.default_rng(0).normal(0, 0.05, points.shape)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    points = moons(1000)
    points = (points - points.mean(0)) / points.std(0)
    states = made(trained(points), 1000)

    figure, panels = plt.subplots(1, 5, figsize=(12, 2.9), sharex=True, sharey=True, layout="constrained")
    for panel, step in zip(panels, (0, 35, 45, 50, None), strict=True):
        shown = points[::2] if step is None else states[step]
        panel.plot(*shown.T, ".", markersize=2, color="#0072B2" if step is not None else "#D55E00")
        panel.set_title("the data" if step is None else f"after {step} of {STEPS} steps", fontsize=10)
        panel.set(xlim=(-3, 3), ylim=(-3, 3), xlabel="x", ylabel="y", aspect="equal")
        panel.label_outer()
    figure.savefig(out / "32_diffusion.png", dpi=100)
    noise, final = distance(states[0], points), distance(states[-1], points)
    print(f"distance from the nearest data point: {noise:.3f} as noise, {final:.3f} after {STEPS} steps")


if __name__ == "__main__":
    main()
