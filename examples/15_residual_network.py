"""Residual network: shortcuts let a deep network learn what a plain one of the same depth cannot."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import ranvier as rv
from ranvier import nn, optim

BLOCKS, CHANNELS, EPOCHS = 12, 12, 8


class Block(nn.Module):
    """y = relu(x + f(x)), or relu(f(x)) without the shortcut; f: two convolutions with batch norms.

    He et al., "Deep Residual Learning for Image Recognition" (2016): f has to learn only what is to change.
    """

    def __init__(self, channels: int, around: bool) -> None:
        super().__init__()
        self.around = around
        self.change = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x):
        change = self.change(x)
        return rv.relu(x + change if self.around else change)


def network(around: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, CHANNELS, 3, padding=1),
        nn.ReLU(),
        *(Block(CHANNELS, around) for _ in range(BLOCKS)),
        nn.AdaptiveAvgPool2d(1),  # the mean of each channel
        nn.Flatten(),
        nn.Linear(CHANNELS, 10),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    x, y = rv.data.datasets.load_digits()
    x, x_test, y, y_test = rv.data.train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    plt.style.use("tableau-colorblind10")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    best = {}
    for around, line in ((False, "s--"), (True, "o-")):
        rv.manual_seed(0)
        model = network(around)
        optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
        trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
        history = trainer.fit(x, y, epochs=EPOCHS, batch_size=64, validation_data=(x_test, y_test))
        best[around] = history["val_accuracy"][-1]
        name = "residual" if around else "plain"
        print(f"{name:<9} loss {history['loss'][-1]:.3f}, held-out accuracy {best[around]:.1%}")
        epochs = range(1, EPOCHS + 1)
        left.plot(epochs, history["loss"], line, label=name)
        right.plot(epochs, [100 * share for share in history["val_accuracy"]], line, label=name)
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    right.set(xlabel="epoch", ylabel="held-out accuracy (%)", ylim=(0, 102))
    for panel in (left, right):
        panel.grid(alpha=0.3)
        panel.legend()
    figure.suptitle(f"The same {2 * BLOCKS + 2} layers, with and without ways around the blocks", fontsize=11)
    figure.savefig(out / "15_residual_network.png", dpi=110)
    print(f"{2 * BLOCKS + 2} layers: held-out accuracy {best[False]:.1%} plain, {best[True]:.1%} residual")


if __name__ == "__main__":
    main()
