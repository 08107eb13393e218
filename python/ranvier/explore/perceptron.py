"""Perceptron: one neuron with a step function, and its learning rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd.memory import Array
from ranvier.explore.separability import certificate
from ranvier.nn import Neuron

__all__ = ["Perceptron"]


class Perceptron:
    """A classifier of two classes with a linear boundary, trained by the perceptron learning rule.

    The prediction is the second class (in sorted order) if w x + b > 0, else the first. For each sample in
    the given order, w += eta0 (y - predicted) x and b += eta0 (y - predicted), with y and predicted 0 or 1: a
    correct prediction changes nothing. Weights start at 0, so eta0 only scales them.

    If a line separates the classes, the rule finds one after finitely many mistakes (Novikoff, 1962).
    Otherwise it never ends: after max_iter epochs `fit` searches for a proof that no line separates, from the
    mistakes (:func:`certificate`).

    Args:
        max_iter: the most epochs; training ends after the first epoch without a mistake.
        eta0: the learning rate, above 0.

    Attributes (after `fit`):
        coef_, intercept_: (1, n_features) and (1,), as in scikit-learn.
        classes_: the two labels.
        errors_: mistakes of each epoch.
        n_iter_: the number of epochs.
        converged_: whether the last epoch had no mistake.
        separable_: True (found), False (proved that no line separates), None (not known).
        certificate_: if separable_ is False, integers n_i >= 0, one for each sample: see :func:`certificate`;
            else None.
        verdict_: these results as a sentence.

    Source: Rosenblatt, "The Perceptron: A Probabilistic Model for Information Storage and Organization in the
    Brain" (1958). Arguments and attributes have the names of scikit-learn's Perceptron.

    >>> from ranvier.explore import Perceptron
    >>> inputs = [[0, 0], [0, 1], [1, 0], [1, 1]]
    >>> gate = Perceptron().fit(inputs, [0, 0, 0, 1])
    >>> gate.predict(inputs).tolist(), gate.errors_
    ([0, 0, 0, 1], [1, 3, 3, 2, 1, 0])
    >>> xor = Perceptron(max_iter=50).fit(inputs, [0, 1, 1, 0])
    >>> xor.separable_, xor.certificate_
    (False, [1, 1, 1, 1])
    """

    def __init__(self, max_iter: int = 1000, eta0: float = 1.0) -> None:
        if max_iter < 1 or not eta0 > 0:
            raise ValueError(
                f"[perceptron] got max_iter = {max_iter} and eta0 = {eta0}; expected max_iter >= 1, eta0 > 0"
            )
        self.max_iter = max_iter
        self.eta0 = eta0

    def fit(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Perceptron:
        """Learn from samples x (n, n_features) and labels y (n,) of two classes; returns itself.

        Raises ValueError for other shapes, values that are not finite, or another number of classes.
        """
        x, labels = _samples(x), np.asarray(getattr(y, "_array", y))
        if labels.shape != x.shape[:1]:
            raise ValueError(
                f"[perceptron] got x of shape {x.shape} and y of shape {labels.shape}; expected "
                "(n, n_features) and (n,)"
            )
        self.classes_, targets = np.unique(labels, return_inverse=True)
        if len(self.classes_) != 2:
            raise ValueError(f"[perceptron] got {len(self.classes_)} classes; expected two")
        mistakes = self._learn(x, targets.tolist())
        self.n_iter_ = len(self.errors_)
        self.converged_ = self.errors_[-1] == 0
        self.certificate_ = None if self.converged_ else certificate(x, 2 * targets - 1, mistakes)
        self.separable_ = True if self.converged_ else None if self.certificate_ is None else False
        self.verdict_ = self._verdict()
        return self

    def _learn(self, x: Array, targets: list[int]) -> list[int]:
        """Trains until an epoch has no mistake; returns the mistakes at each sample."""
        w, b = np.zeros(x.shape[1]), 0.0
        mistakes = [0] * len(targets)
        self.errors_: list[int] = []
        for _ in range(self.max_iter):
            errors = 0
            for i, (sample, target) in enumerate(zip(x, targets, strict=True)):
                predicted = int(sample @ w + b > 0)
                if predicted != target:
                    w += self.eta0 * (target - predicted) * sample
                    b += self.eta0 * (target - predicted)
                    mistakes[i] += 1
                    errors += 1
            self.errors_.append(errors)
            if not errors:
                break
        self.coef_, self.intercept_ = w[None], np.array([b])
        return mistakes

    def _verdict(self) -> str:
        no, yes = self.classes_
        if self.converged_:
            return f"separated after {self.n_iter_} epochs and {sum(self.errors_)} mistakes"
        if self.certificate_ is None:
            return (
                f"not separated after {self.n_iter_} epochs, the last with {self.errors_[-1]} mistakes; a "
                "line may exist, or not"
            )
        among = sum(number > 0 for number in self.certificate_)
        return (
            f"not separable: {among} samples prove that no straight boundary has class {yes} on one side and "
            f"class {no} on the other; {self.errors_[-1]} mistakes in the last of {self.n_iter_} epochs"
        )

    def decision_function(self, x: npt.ArrayLike) -> Array:
        """w x + b for each row of x, (n,): above 0 for the second class."""
        self._require_fit("decision_function")
        x = _samples(x)
        if x.shape[1] != self.coef_.shape[1]:
            raise ValueError(
                f"[perceptron] got x of shape {x.shape}; expected (n, {self.coef_.shape[1]}), as in fit"
            )
        return x @ self.coef_[0] + self.intercept_[0]

    def predict(self, x: npt.ArrayLike) -> Array:
        """The label of each row of x, (n,)."""
        second = self.decision_function(x) > 0
        return self.classes_[second.astype(int)]

    def score(self, x: npt.ArrayLike, y: npt.ArrayLike) -> float:
        """The share of correct labels."""
        labels, said = np.asarray(getattr(y, "_array", y)), self.predict(x)
        if labels.shape != said.shape:
            raise ValueError(
                f"[perceptron] got y of shape {labels.shape} for {len(said)} samples; expected one each"
            )
        return float(np.mean(labels == said))

    @property
    def neuron(self) -> Neuron:
        """The trained neuron with a step function, for its `boundary`, `explain` and picture."""
        self._require_fit("neuron")
        return Neuron.with_weights(self.coef_[0], float(self.intercept_[0]), "heaviside")

    def _require_fit(self, name: str) -> None:
        if not hasattr(self, "coef_"):
            raise RuntimeError(f"[perceptron] got {name} before fit; expected fit(x, y) first")

    def __repr__(self) -> str:
        return f"Perceptron(max_iter={self.max_iter}, eta0={self.eta0})"


def _samples(x: Any) -> Array:
    x = np.asarray(getattr(x, "_array", x), np.float64)
    if x.ndim != 2 or not x.shape[1] or not np.isfinite(x).all():
        what = f"shape {x.shape}" if x.ndim != 2 or not x.shape[1] else "values that are not finite"
        raise ValueError(f"[perceptron] got x of {what}; expected finite numbers (n, n_features)")
    return x
