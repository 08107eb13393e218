"""LeNet-5: the first convolutional network in wide use, on digits enlarged to the size it was made for."""

import argparse
from pathlib import Path

import ranvier as rv
from ranvier import nn, optim


def lenet5() -> nn.Sequential:
    """LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998), figure 2."""
    return nn.Sequential(
        nn.Upsample(size=(32, 32), mode="bilinear"),  # the digits here have 8x8 pixels
        nn.Conv2d(1, 6, 5),  # (6, 28, 28): strokes and edges
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),  # (16, 10, 10): what strokes make up
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),  # 16 * 5 * 5 = 400
        nn.Linear(400, 120),
        nn.Tanh(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, 10),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    x, y = rv.data.datasets.load_digits()
    x, x_test, y, y_test = rv.data.train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    rv.manual_seed(0)
    model = lenet5()
    parameters = rv.summary(model, (1, 8, 8)).total
    trainer = rv.Trainer(
        model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=2e-3), metrics=["accuracy"]
    )
    history = trainer.fit(x, y, epochs=10, batch_size=64, validation_data=(x_test, y_test))
    for epoch in range(0, 10, 3):
        loss, right = history["loss"][epoch], history["val_accuracy"][epoch]
        print(f"epoch {epoch + 1:2}: loss {loss:.3f}, held-out accuracy {right:.1%}")

    # the feature maps of both convolutions, after their tanh
    rv.plot.feature_maps(model, x_test[y_test == 4][0], ["2", "5"], path=out / "14_lenet5.png")
    print(f"{parameters:,} parameters, held-out accuracy {history['val_accuracy'][-1]:.1%}")


if __name__ == "__main__":
    main()
