"""Augmentation: digits shifted and rotated during training, so that the network recognises them anywhere."""

import argparse
from pathlib import Path

import numpy as np
import ranvier as rv
from ranvier import nn, optim
from ranvier.data import augment

EPOCHS = 15
MOVED = augment.RandomAffine(20, translate=(0.2, 0.2), scale=(0.85, 1.15))


def network() -> nn.Sequential:
    rv.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 3 * 3, 10),
    )


def trained(x, y, change) -> rv.Trainer:
    """Trained on the original digits (None), or on a new random change of each in every epoch."""
    model = network()
    loader = rv.data.DataLoader(rv.data.TensorDataset(x, y), batch_size=32, shuffle=True, augment=change)
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    trainer.fit(loader, epochs=EPOCHS)
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    x, y = rv.data.datasets.load_digits()
    x = np.pad(x, ((0, 0), (0, 0), (3, 3), (3, 3)))  # 8x8 digits with a margin: 14x14
    x, x_test, y, y_test = rv.data.train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    rv.manual_seed(0)
    moved_test = MOVED(x_test)  # shifted and rotated, like new handwriting

    shown = [x[y == digit][:1] for digit in (2, 3, 5, 7)]
    rows = [np.concatenate([one, *(MOVED(one) for _ in range(9))]) for one in shown]
    panels = rv.plot.images(np.concatenate(rows), ["as it is", *["changed"] * 9] + [""] * 30, columns=10)
    panels.flat[0].figure.savefig(out / "34_augmentation.png", dpi=80)

    accuracies = []
    for name, change in (("as they are", None), ("changed each time", MOVED)):
        trainer = trained(x, y, change)
        still, moved = (trainer.evaluate(images, y_test)["accuracy"] for images in (x_test, moved_test))
        accuracies.append(moved)
        print(f"trained on digits {name:<18} accuracy {still:.3f} on others, {moved:.3f} on moved ones")
    print(f"moved digits: {accuracies[0]:.3f} without augmentation, {accuracies[1]:.3f} with it")


if __name__ == "__main__":
    main()
