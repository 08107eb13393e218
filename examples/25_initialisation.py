"""Starting values: too small, and the signal vanishes from layer to layer; too large, and it explodes."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim
from ranvier.nn import init

DEPTH, WIDTH = 10, 64
STARTS = {
    "0.01 N(0, 1)": lambda w: init.normal_(w, std=0.01),
    "Glorot, sqrt(2 / (fan-in + fan-out))": lambda w: init.xavier_normal_(w),
    "He, sqrt(2 / fan-in)": lambda w: init.kaiming_normal_(w, nonlinearity="relu"),
    "0.5 N(0, 1)": lambda w: init.normal_(w, std=0.5),
}


def network(start) -> nn.Sequential:
    """Ten ReLU layers of the same width and one for the ten digits, with starting values of one kind."""
    rv.manual_seed(0)
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(DEPTH):
        layers += [nn.Linear(WIDTH, WIDTH), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    for layer in model:
        if isinstance(layer, nn.Linear):
            start(layer.weight)
            init.zeros_(layer.bias)
    return model


def signal(model: nn.Sequential, x) -> list[float]:
    """Standard deviation of the output of each ReLU layer."""
    spreads, h = [], rv.tensor(x)
    with rv.no_grad():
        for layer in model:
            h = layer(h)
            if isinstance(layer, nn.ReLU):
                spreads.append(h.std().item())
    return spreads


def trained(model: nn.Sequential, x, y) -> list[float]:
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    # one of the initialisations diverges on purpose; without this, fit would raise
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, on_nonfinite="ignore")
    return trainer.fit(x, y, epochs=15, batch_size=32)["loss"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    x, y = rv.data.datasets.load_digits()
    x = rv.data.Standardize(per="all").fit_transform(x)  # as the rules for the weights assume
    plt.style.use("tableau-colorblind10")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    last = {}
    for (name, start), mark in zip(STARTS.items(), "osD^", strict=True):
        model = network(start)
        spreads = signal(model, x)
        losses = trained(model, x, y)
        last[name] = losses[-1]
        left.semilogy(range(1, DEPTH + 1), spreads, marker=mark, label=name)
        right.plot(range(1, len(losses) + 1), losses, marker=mark, label=name)
        spread = f"spread after layer 1 {spreads[0]:.2g}, layer 10 {spreads[-1]:.2g}"
        print(f"{name:<26} {spread}; loss {last[name]:.4f}")
    left.set(xlabel="layer", ylabel="standard deviation of its outputs", title="the signal before training")
    right.set(xlabel="epoch", ylabel="training loss", title="what training makes of it", ylim=(0, 2.6))
    lost = ", ".join(name for name, loss in last.items() if not np.isfinite(loss))
    right.text(8, 1.6, f"{lost}: overflow,\nno loss to draw", ha="center", fontsize=9)
    right.axhline(np.log(10), color="gray", linewidth=0.8, linestyle=":")
    right.annotate(
        "log 10: no idea", (15, np.log(10)), (0, 4), textcoords="offset points", ha="right", fontsize=8
    )
    for panel in (left, right):
        panel.grid(alpha=0.3)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(out / "25_initialisation.png", dpi=110)
    best = min(last, key=lambda name: last[name] if np.isfinite(last[name]) else np.inf)
    print(f"lowest loss: {last[best]:.4f}, from {best}")


if __name__ == "__main__":
    main()
