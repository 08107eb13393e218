"""A captured step: recorded once, replayed without Python, with the same bits; its program printed."""

import argparse
import time
from pathlib import Path

import numpy as np
import ranvier as rv
from ranvier import nn, optim

STEPS = 300


def make_step():
    """A small network, its optimizer, and one update as a function of a batch."""
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 3))
    loss_function, optimizer = nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=1e-3)

    def step(x, y):
        optimizer.zero_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def run(step, x, y) -> tuple[list[float], float]:
    """Losses of the steps, and microseconds of one (the median: others use the machine, too)."""
    losses, times = [], []
    for i in range(STEPS):
        batch = slice(i % 8 * 32, i % 8 * 32 + 32)
        start = time.perf_counter()
        loss = step(x[batch], y[batch])
        times.append(time.perf_counter() - start)
        losses.append(loss.item())
    return losses, 1e6 * float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((256, 20)).astype(np.float32), rng.integers(0, 3, 256)

    eager_losses, eager = run(make_step(), x, y)
    captured = rv.compile(make_step())
    captured_losses, replayed = run(captured, x, y)

    captured.explain()
    print(f"\nloss of the first step {captured_losses[0]:.3f}, of the last {captured_losses[-1]:.3f}")
    print(f"{eager:.0f} us eagerly, {replayed:.0f} us captured: {eager / replayed:.1f} times as fast")
    rv.plot.program(captured.programs[0], path=out / "28_captured_step.png")
    same = sum(a == b for a, b in zip(eager_losses, captured_losses, strict=True))
    print(f"losses equal to the last bit, dropout included: {same} of {STEPS}")


if __name__ == "__main__":
    main()
