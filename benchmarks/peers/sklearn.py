"""scikit-learn's side of the cases."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.training import fits
from benchmarks.training.by_hand import BETA2, EPS
from benchmarks.training.networks import CHECKED_STEPS, LR, MOMENTUM, NETWORKS, Network, parameters


def version() -> str:
    return str(sklearn.__version__)


def to_numpy(result: Any) -> np.ndarray:
    return np.asarray(result)


class _Steps:
    """One ``partial_fit`` a call; one batch is one step of Adam."""

    def __init__(self, network: Network, arrays: dict[str, np.ndarray]) -> None:
        p = parameters(arrays)
        pairs = zip(arrays["x"], arrays["y"], strict=True)
        batches = [(x, y.ravel().astype(np.int64)) for x, y in pairs]
        hidden = [len(bias) for bias in p[1:-1:2]]
        settings = (
            {"solver": "sgd", "momentum": MOMENTUM, "nesterovs_momentum": False}
            if network.optimizer == "SGD"
            else {"solver": "adam"}
        )
        settings["activation"] = str(network.layers[1][0])
        self.model = MLPClassifier(
            hidden, alpha=0.0, batch_size=arrays["x"].shape[1], learning_rate_init=LR, **settings
        )
        self.model.partial_fit(*batches[0], classes=np.arange(network.classes))
        # that step has set the model up: now back to the case's start
        self.batches = cycle(batches)
        for i in range(len(self.model.coefs_)):
            self.model.coefs_[i][...] = p[2 * i].T
            self.model.intercepts_[i][...] = p[2 * i + 1]
        optimizer = self.model._optimizer
        states = optimizer.velocities if network.optimizer == "SGD" else [*optimizer.ms, *optimizer.vs]
        optimizer.t = 0
        for state in states:
            state[...] = 0

    def __call__(self) -> Any:
        return self.model.partial_fit(*next(self.batches))

    def answer(self) -> np.ndarray:
        # scikit-learn adds epsilon before the second moment's bias is corrected, the others after: while the
        # answers are compared, it gets the epsilon that comes to the same
        optimizer, losses = self.model._optimizer, []
        for t in range(1, CHECKED_STEPS + 1):
            optimizer.epsilon = EPS * np.sqrt(1 - BETA2**t)
            losses.append(self().loss_)
        optimizer.epsilon = EPS
        return np.array(losses)


def train_step(network: str, **arrays: np.ndarray) -> Callable[[], Any]:
    return _Steps(NETWORKS[network], arrays)


def fit(case: str, x: np.ndarray, y: np.ndarray) -> fits.Fit:
    made = fits.CASES[case]
    warnings.simplefilter("ignore", ConvergenceWarning)
    model = MLPClassifier(
        made.sizes[1:-1],
        batch_size=made.batch,
        learning_rate_init=fits.LR,
        alpha=0,
        warm_start=True,
        random_state=0,
    )

    def run(epochs: int) -> None:
        model._no_improvement_count = 0  # a warm start keeps it, and ends the second fit after one epoch
        model.set_params(max_iter=epochs, n_iter_no_change=epochs).fit(x, y)

    return fits.Fit(run, lambda: np.asarray(model.predict(x)), y, made.epochs)
