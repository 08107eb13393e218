"""A convolutional network on digits: the shape after each layer, its kernels and feature maps."""

import argparse
from pathlib import Path

import ranvier as rv
from ranvier import nn, optim


def network() -> nn.Sequential:
    """Two blocks of convolution, ReLU and pooling find features; two dense layers classify the digits."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),  # 3x3 windows without padding: 28 - 2 = 26 in each direction
        nn.ReLU(),
        nn.MaxPool2d(2),  # the largest of each 2x2 window: half the height and width
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1600, 128),
        nn.ReLU(),
        nn.Linear(128, 10),  # one logit for each digit; the loss applies softmax
    )


def digits():
    """The 8x8 digits of the library, enlarged to 28x28, split into training and test part."""
    x, y = rv.data.datasets.load_digits()
    x = rv.interpolate(x, size=(28, 28), mode="bilinear", align_corners=False).numpy()
    return rv.data.train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)


def print_shapes(model: nn.Sequential) -> None:
    x = rv.zeros(1, 1, 28, 28)
    print(f"{'layer':<12} {'channels, height, width':<24} parameters")
    print(f"{'input':<12} {tuple(x.shape[1:])!s:<24}")
    for layer in model:
        x = layer(x)
        count = sum(p.numel() for p in layer.parameters())
        print(f"{type(layer).__name__:<12} {tuple(x.shape[1:])!s:<24} {count:>10,}")
    print("\nand as dense layers with as many inputs and outputs:")
    for layer in rv.explore.dense_against_convolution(model, (1, 28, 28)):
        print(layer)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    rv.manual_seed(0)
    model = network()
    print_shapes(model)

    x_train, x_test, y_train, y_test = digits()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    for epoch in range(1, 4):
        last = trainer.fit(x_train, y_train, epochs=1, validation_data=(x_test, y_test)).last()
        print(f"epoch {epoch}: loss {last['loss']:.3f}, accuracy of unseen digits {last['val_accuracy']:.3f}")

    rv.save(model, out / "digits.safetensors")
    model = rv.load(out / "digits.safetensors")  # the same network, built from the file alone
    with rv.no_grad():
        chances = rv.softmax(model(x_test), 1).numpy()
    some = chances.max(1).argsort()[:20]  # the least confident predictions
    guesses, truth = chances[some].argmax(1), y_test[some]
    marks = ["✓" if guess == label else "✗" for guess, label in zip(guesses, truth, strict=True)]
    titles = [f"{m} {g} ({p:.0%})" for m, g, p in zip(marks, guesses, chances[some].max(1), strict=True)]
    rv.plot.images(x_test[some], titles, columns=10, path=out / "24_digits_cnn_predictions.png")
    rv.plot.feature_maps(model, x_test[y_test == 3][0], path=out / "24_digits_cnn.png")
    rv.plot.images(model[0].weight, range(32), path=out / "24_digits_cnn_kernels.png")
    print(f"accuracy on {len(y_test)} unseen digits: {last['val_accuracy']:.3f}")


if __name__ == "__main__":
    main()
