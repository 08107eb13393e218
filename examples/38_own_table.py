"""Your own table: a CSV file, standardized columns, a network, and what each column matters."""

import argparse
import csv
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim

COLUMNS = ["income", "debt", "age", "years employed", "accounts", "distance", "visits", "temperature"]


def write_table(path: Path) -> None:
    """A made-up table: the target depends on five columns, not on the last three."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((800, 8))
    x[:, 3] = 0.8 * x[:, 2] + 0.6 * x[:, 3]  # years employed are correlated with age
    score = 1.5 * x[:, 0] - 2.0 * x[:, 1] + x[:, 3] - x[:, 4] ** 2 + 1  # many accounts or none: worse
    y = (score + rng.normal(0, 0.7, 800) > 0).astype(int)
    x = x * [9000, 4000, 11, 4, 2, 30, 5, 8] + [38000, 9000, 45, 9, 4, 60, 12, 11]
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*COLUMNS, "loan"])
        table.writerows(
            [*row.round(1), ("refused", "granted")[label]] for row, label in zip(x, y, strict=True)
        )


def trained(x, y, validation) -> tuple[rv.Trainer, rv.History]:
    rv.manual_seed(0)
    model = rv.mlp([x.shape[1], 32, 16, 2], dropout=0.1)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    stop = rv.EarlyStopping(patience=15)
    return trainer, trainer.fit(x, y, epochs=100, validation_data=validation, callbacks=[stop])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    write_table(out / "38_loans.csv")
    loans = rv.data.load(out / "38_loans.csv", label="loan")
    print(f"{len(loans)} rows of {', '.join(loans.feature_names)}; classes {', '.join(loans.class_names)}")

    # 60 % to train, 20 % to stop early, 20 % to test.
    x, rest, y, rest_y = rv.data.train_test_split(loans.x, loans.y, test_size=0.4, random_state=0)
    x_valid, x_test, y_valid, y_test = rv.data.train_test_split(rest, rest_y, test_size=0.5, random_state=0)
    scaler = rv.data.Standardize().fit(x)

    # Trainer.fit warns that the columns should be scaled; this example shows how much that matters.
    warnings.filterwarnings("ignore", r"\[Trainer.fit\] x has values")
    accuracies = {}
    for name, change in (("as they are", lambda values: values), ("standardized", scaler.transform)):
        trainer, history = trained(change(x), y, (change(x_valid), y_valid))
        accuracies[name] = trainer.evaluate(change(x_test), y_test)["accuracy"]
        print(
            f"columns {name:<12} stopped after {history.epochs} epochs, test accuracy {accuracies[name]:.3f}"
        )

    predicted = trainer.predict(scaler.transform(x_test))
    # The importance of a column: the loss of accuracy when its values are shuffled.
    rng, costs = np.random.default_rng(0), []
    for column in range(x.shape[1]):
        mixed = scaler.transform(x_test)
        mixed[:, column] = rng.permutation(mixed[:, column])
        costs.append(accuracies["standardized"] - trainer.evaluate(mixed, y_test)["accuracy"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    rv.plot.confusion_matrix(y_test, predicted, class_names=loans.class_names, ax=left)
    right.barh(COLUMNS, costs, color="#0072B2")
    right.invert_yaxis()
    right.set(title="what each column counts for", xlabel="accuracy lost if the column is shuffled")
    right.grid(axis="x", alpha=0.3)
    figure.savefig(out / "38_own_table.png", dpi=100)
    before, after = accuracies.values()
    print(f"test accuracy: {before:.3f} with columns as they are, {after:.3f} standardized")


if __name__ == "__main__":
    main()
