"""Autoencoder: 64 pixels through 6 numbers and back, compared with the best linear map."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim

CODE = 6  # numbers that encode a digit


def autoencoder() -> nn.Sequential:
    """Hinton and Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks" (2006)."""
    encoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, CODE))
    decoder = nn.Sequential(nn.Linear(CODE, 64), nn.ReLU(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
    return nn.Sequential(encoder, decoder, nn.Sigmoid())  # pixels are between 0 and 1


def through_principal_components(x: np.ndarray, x_test: np.ndarray) -> np.ndarray:
    """The least squares answer of a linear encoder and decoder."""
    mean = x.mean(0)
    directions = np.linalg.svd(x - mean, full_matrices=False)[2][:CODE]
    return (x_test - mean) @ directions.T @ directions + mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    x, y = rv.data.datasets.load_digits()
    x, x_test, y, y_test = rv.data.train_test_split(
        x.reshape(-1, 64), y, test_size=0.2, random_state=0, stratify=y
    )
    rv.manual_seed(0)
    model = autoencoder()
    trainer = rv.Trainer(model, nn.MSELoss(), optim.Adam(model.parameters(), lr=2e-3))
    # the target is the input, so no labels are needed
    history = trainer.fit(x, x, epochs=100, batch_size=64, validation_data=(x_test, x_test))
    for epoch in (0, 9, 99):
        print(f"epoch {epoch + 1:3}: squared error of a held-out pixel {history['val_loss'][epoch]:.4f}")

    rows = {
        "digit": x_test,
        "autoencoder": trainer.predict(x_test),
        "straight lines": through_principal_components(x, x_test),
    }
    errors = {name: rv.metrics.mean_squared_error(x_test, made) for name, made in rows.items()}
    shown = [int(np.flatnonzero(y_test == digit)[0]) for digit in range(10)]
    figure, panels = plt.subplots(3, 10, figsize=(10, 3.6), layout="constrained")
    for row, (name, images) in zip(panels, rows.items(), strict=True):
        for panel, digit in zip(row, shown, strict=True):
            panel.imshow(images[digit].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            panel.set(xticks=[], yticks=[])
        error = f"\nerror {errors[name]:.4f}" if errors[name] else ""
        row[0].set_ylabel(name + error, fontsize=9)
    figure.suptitle(f"Held-out digits through {CODE} numbers each", fontsize=11)
    figure.savefig(out / "16_autoencoder.png", dpi=110)
    linear, deep = errors["straight lines"], errors["autoencoder"]
    print(f"squared error through {CODE} numbers: {deep:.4f}, linear {linear:.4f}")


if __name__ == "__main__":
    main()
