"""Machines: a search over settings, and predictions of many samples, on the workers of a Dask cluster."""

import argparse
import tempfile
import warnings
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from dask.distributed import Client, LocalCluster
from ranvier.sklearn import MLPClassifier
from sklearn.model_selection import GridSearchCV

RATES = [0.001, 0.003, 0.01, 0.03]


def predict(model: MLPClassifier, x: np.ndarray) -> np.ndarray:
    """One worker's part of the predictions."""
    return model.predict(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    warnings.simplefilter("ignore")

    x, y = rv.data.datasets.load_digits()
    x = x.reshape(len(x), -1)
    x, x_test, y, y_test = rv.data.train_test_split(x, y, test_size=0.25, random_state=0)

    # Two processes here. For several machines: Client("address of the scheduler:8786").
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    scratch = tempfile.TemporaryDirectory()
    with (
        scratch,
        LocalCluster(**settings, local_directory=scratch.name) as cluster,
        Client(cluster) as client,
    ):
        model = MLPClassifier((32,), max_iter=15, n_iter_no_change=15, random_state=0)
        search = GridSearchCV(model, {"learning_rate_init": RATES}, cv=2)
        with joblib.parallel_config("dask"):  # each fit is a task of a worker
            search.fit(x, y)

        best = client.scatter(search.best_estimator_, broadcast=True)  # once to each worker
        parts = client.gather([client.submit(predict, best, part) for part in np.array_split(x_test, 4)])
        predicted = np.concatenate(parts)

    out.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.semilogx(RATES, search.cv_results_["mean_test_score"], "o-")
    axes.set(xlabel="learning rate", ylabel="accuracy of 2 folds", title="A search on two workers")
    figure.savefig(out / "42_machines.png", dpi=80)
    print(f"best learning rate: {search.best_params_['learning_rate_init']}")
    print(f"accuracy on unseen digits, predicted in 4 parts: {np.mean(predicted == y_test):.3f}")


if __name__ == "__main__":
    main()
