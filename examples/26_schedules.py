"""Learning-rate schedules: large steps first, small steps last, so that the weights converge."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn, optim
from ranvier.optim import lr_scheduler as lrs

EPOCHS, RATE = 30, 0.02
SCHEDULES = {
    "constant": lambda o: lrs.ConstantLR(o, factor=1.0),
    "step: a half every 10": lambda o: lrs.StepLR(o, step_size=10, gamma=0.5),
    "exponential": lambda o: lrs.ExponentialLR(o, gamma=0.9),
    "cosine": lambda o: lrs.CosineAnnealingLR(o, T_max=EPOCHS),
    "cosine, restarted": lambda o: lrs.CosineAnnealingWarmRestarts(o, T_0=10),
    "warm-up, then cosine": lambda o: lrs.SequentialLR(
        o, [lrs.LinearLR(o, 0.1, total_iters=5), lrs.CosineAnnealingLR(o, T_max=EPOCHS - 5)], milestones=[5]
    ),
}


def rates(schedule) -> list[float]:
    """The rate of each epoch. A schedule is stepped after the optimizer."""
    optimizer = optim.SGD([rv.zeros(1, requires_grad=True)], lr=RATE)
    stepper, values = schedule(optimizer), []
    for _ in range(EPOCHS):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        stepper.step()
    return values


def trained(schedule) -> list[float]:
    """How far the weights are from the best ones after each epoch of noisy steps towards them.

    The samples of a batch pull in a direction of their own. At a constant rate the weights keep dancing
    around the best ones, the wider the larger the rate; steps that become small let them settle.
    """
    rng = np.random.default_rng(0)
    best = rng.standard_normal((20, 1)).astype(np.float32)
    x = rng.standard_normal((512, 20)).astype(np.float32)
    y = x @ best + rng.standard_normal((512, 1)).astype(np.float32)
    best = np.linalg.lstsq(x, y, rcond=None)[0]  # of these samples

    rv.manual_seed(0)
    model = nn.Linear(20, 1, bias=False)
    optimizer = optim.SGD(model.parameters(), lr=RATE)
    stepper, distances = schedule(optimizer), []
    for _ in range(EPOCHS):
        for batch, target in rv.data.DataLoader(rv.data.TensorDataset(x, y), batch_size=8, shuffle=True):
            optimizer.zero_grad()
            F.mse_loss(model(batch), target).backward()
            optimizer.step()
        stepper.step()
        distances.append(float(np.linalg.norm(model.weight.detach().numpy().T - best)))
    return distances


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    plt.style.use("tableau-colorblind10")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    epochs, distances = np.arange(1, EPOCHS + 1), {}
    for (name, schedule), dash in zip(SCHEDULES.items(), ("-", "--", "-.", ":", "-", "--"), strict=True):
        distances[name] = trained(schedule)
        left.step(epochs, rates(schedule), dash, where="mid", label=name)
        right.semilogy(epochs, distances[name], dash)
        print(f"{name:<22} distance from the best weights {distances[name][-1]:.4f}")
    left.set(xlabel="epoch", ylabel="learning rate", title="the rate of each epoch")
    right.set(xlabel="epoch", ylabel="distance from the best weights", title="where the weights get to")
    for panel in (left, right):
        panel.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=6, fontsize=8)
    figure.savefig(out / "26_schedules.png", dpi=110)
    closest = min(distances, key=distances.get)
    times = distances["constant"][-1] / distances[closest][-1]
    print(f"closest: {closest}, {times:.0f} times as close as with a constant rate")


if __name__ == "__main__":
    main()
