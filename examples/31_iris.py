"""Iris: a table of four lengths, three species, and a network that classifies more than 90 % correctly."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim
from ranvier.data.datasets import IRIS_CLASSES, IRIS_FEATURES, load_iris


def trained(x, y, validation) -> tuple[nn.Module, rv.History]:
    """4 inputs, 8 ReLU units, 3 logits. Try dropout, and another learning rate."""
    rv.manual_seed(0)
    model = rv.mlp([x.shape[1], 8, 3], activation="relu", init="he")
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    return model, trainer.fit(x, y, epochs=200, batch_size=16, validation_data=validation)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    x, y = load_iris()
    x, x_test, y, y_test = rv.data.train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    scaler = rv.data.Standardize().fit(x)  # fitted to the training part only
    x, x_test = scaler.transform(x), scaler.transform(x_test)

    model, history = trained(x, y, (x_test, y_test))
    predicted = rv.argmax(model(x_test), 1).numpy()
    print(rv.metrics.classification_report(y_test, predicted, target_names=IRIS_CLASSES))

    # The same with the two lengths of the petals only, because two can be drawn.
    petals, _ = trained(x[:, 2:], y, (x_test[:, 2:], y_test))
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    left.plot(history["loss"], label="training")
    left.plot(history["val_loss"], "--", label="validation")
    left.set(xlabel="epoch", ylabel="loss", title="4 inputs, 8 units, 3 classes")
    left.legend()
    rv.plot.confusion_matrix(y_test, predicted, class_names=IRIS_CLASSES, ax=middle)
    names = [f"{name.removesuffix(' (cm)')}, standardized" for name in IRIS_FEATURES[2:]]
    rv.plot.decision_boundary(petals, x[:, 2:], y, IRIS_CLASSES, feature_names=names, ax=right)
    figure.savefig(out / "31_iris.png", dpi=90)
    right_ones = int(np.sum(predicted == y_test))
    print(f"right: {right_ones} of {len(y_test)} unseen flowers, {right_ones / len(y_test):.1%}")


if __name__ == "__main__":
    main()
