"""What linear units can do: the perceptron, separable data, linear layers in a row."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm
from operator import mul
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import ranvier.nn as nn
from ranvier import randn
from ranvier.autograd import no_grad, random
from ranvier.autograd.memory import Array
from ranvier.explore.depth import require_module
from ranvier.nn import Neuron

__all__ = ["Collapsed", "Perceptron", "collapse"]

Row = list[int]

MOST_FEATURES, MOST_PRODUCTS = 32, 500_000  # limits of the search: a few seconds


def certificate(x: Array, signs: Array, mistakes: Sequence[int]) -> list[int] | None:
    """Integers n_i >= 0, not all 0, with sum n_i s_i (x_i, 1) = 0; None if it finds none.

    They prove that no line separates: if w x + b had the sign s_i at every sample, the sum of
    n_i s_i (w x_i + b) would be above 0, but it is (w, b) times 0. By Gordan's theorem (1873), such numbers
    exist whenever no line separates.

    The perceptron's mistakes m_i nearly fulfil this: the sum of s_i m_i (x_i, 1) is the weight vector v,
    which is bounded however long the rule runs (Block and Levin, 1970), while the m_i grow. With A the rows
    s_i (x_i, 1) and G = A^T diag(m) A, the numbers n_i = m_i (1 - a_i u), G u = v, have the sum v - G u = 0,
    and after enough mistakes a_i u < 1. The computation is exact, because floats are fractions with a power
    of 2 as denominator.

    Args:
        x: samples (n, d).
        signs: their classes as -1 and 1, (n,).
        mistakes: of the perceptron at each sample, (n,).

    >>> import numpy as np
    >>> from ranvier.explore.perceptron import certificate
    >>> xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> certificate(xor, np.array([-1, 1, 1, -1]), [5, 5, 4, 6])
    [1, 1, 1, 1]
    """
    used, size = [i for i, m in enumerate(mistakes) if m], x.shape[1] + 1
    if size > MOST_FEATURES + 1 or len(used) * size * size > MOST_PRODUCTS:
        return None
    rows = _whole_rows(x, signs)
    while used:
        shares = _shares([rows[i] for i in used], [mistakes[i] for i in used])
        if min(shares) >= 0:
            break
        # a sample with few early mistakes prevents a solution with the others: leave it out
        used = [i for i, share in zip(used, shares, strict=True) if share >= 0]
    else:
        return None
    weights = [0] * len(mistakes)
    for i, share in zip(used, _whole(shares), strict=True):
        weights[i] = share
    return weights if proves(x, signs, weights) else None


def _shares(rows: list[Row], mistakes: list[int]) -> list[Fraction]:
    """m_i (1 - a_i u) with G u = v: numbers near the mistakes whose sum of n_i a_i is 0."""
    weighted = list(
        zip(*([m * value for value in a] for m, a in zip(mistakes, rows, strict=True)), strict=True)
    )
    columns = list(zip(*rows, strict=True))
    gram = [[_dot(left, right) for right in columns] for left in weighted]
    u = _solve(gram, [sum(column) for column in weighted])
    return [m * (1 - _dot(a, u)) for m, a in zip(mistakes, rows, strict=True)]


def proves(x: Array, signs: Array, numbers: Sequence[int]) -> bool:
    """Whether the numbers are a certificate, checked in exact arithmetic.

    >>> import numpy as np
    >>> from ranvier.explore.perceptron import proves
    >>> xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> [proves(xor, np.array(signs), [1, 1, 1, 1]) for signs in ([-1, 1, 1, -1], [-1, -1, -1, 1])]
    [True, False]
    """
    if len(numbers) != len(x) or min(numbers) < 0 or not any(numbers):
        return False
    rows = _whole_rows(x, signs)
    return not any(_dot(numbers, column) for column in zip(*rows, strict=True))


def _dot(a: Sequence[Any], b: Sequence[Any]) -> Any:
    return sum(map(mul, a, b))


def _whole_rows(x: Array, signs: Array) -> list[Row]:
    """s_i (x_i, 1), every column multiplied by a factor that makes it integer; sums of 0 stay 0."""
    columns = [_whole([Fraction(value) for value in column]) for column in np.asarray(x, float).T.tolist()]
    columns.append([1] * len(x))
    return [
        [int(s) * value for value in row] for s, row in zip(signs, zip(*columns, strict=True), strict=True)
    ]


def _whole(values: Sequence[Fraction | int]) -> list[int]:
    """The smallest integers in the proportions of the values."""
    common = lcm(*(Fraction(value).denominator for value in values))
    whole = [int(value * common) for value in values]
    divisor = gcd(*whole) or 1
    return [value // divisor for value in whole]


def _solve(matrix: list[Row], right: Row) -> list[Fraction]:
    """A solution of the solvable system matrix u = right, by Gauss-Jordan elimination in fractions."""
    size = len(right)
    table = [[Fraction(value) for value in (*row, r)] for row, r in zip(matrix, right, strict=True)]
    pivots: list[int] = []
    for column in range(size):
        row = next((r for r in range(len(pivots), size) if table[r][column]), None)
        if row is None:
            continue  # a combination of earlier columns: its unknown stays 0
        at = len(pivots)
        table[at], table[row] = table[row], table[at]
        pivot = table[at][column]
        table[at] = [value / pivot for value in table[at]]
        for r in range(size):
            factor = table[r][column]
            if r != at and factor:
                table[r] = [value - factor * p for value, p in zip(table[r], table[at], strict=True)]
        pivots.append(column)
    u = [Fraction(0)] * size
    for at, column in enumerate(pivots):
        u[column] = table[at][size]
    return u


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


class Collapsed(NamedTuple):
    """The layer, the largest difference of its outputs from those of the stack, and the bound on rounding."""

    layer: Any
    difference: float
    bound: float

    @property
    def equal(self) -> bool:
        """Whether the difference is only rounding."""
        return self.difference <= self.bound


def collapse(model: Any, *, samples: int = 1000, seed: int = 0) -> Collapsed:
    """The one `nn.Linear` that is equal to a stack of linear layers, with a numerical check.

    W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2), layer after layer. Both are then computed in float64 for
    standard normal inputs. The bound on rounding is float64's eps times the number of terms of all sums times
    the largest output if all terms had one sign. The layer has the dtype of the stack.

    Args:
        model: an `nn.Sequential` of `nn.Linear`, `nn.Identity` and further Sequentials, or one `nn.Linear`.
        samples, seed: of the inputs; the global random stream does not change.

    Raises TypeError: model is not a Module.
    Raises ValueError: a layer that is not linear, or a model without a Linear.

    >>> import ranvier as rv
    >>> from ranvier import nn
    >>> found = rv.explore.collapse(nn.Sequential(nn.Linear(4, 64), nn.Linear(64, 64), nn.Linear(64, 2)))
    >>> found.layer, found.equal
    (Linear(in_features=4, out_features=2, bias=True), True)
    >>> rv.explore.collapse(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    Traceback (most recent call last):
    ValueError: [collapse] layer "1" is a ReLU, which is not linear; expected nn.Linear layers only
    """
    require_module("collapse", model)
    stack = [(name, layer) for name, layer in model.named_modules(remove_duplicate=False)]
    stack = [(name, layer) for name, layer in stack if not isinstance(layer, (nn.Sequential, nn.Identity))]
    for name, layer in stack:
        if type(layer) is not nn.Linear:
            raise ValueError(
                f'[collapse] layer "{name}" is a {type(layer).__name__}, which is not linear; expected '
                "nn.Linear layers only"
            )
    if not stack:
        raise ValueError("[collapse] got a model without layers; expected at least one nn.Linear")
    first, dtype = stack[0][1], stack[0][1].weight.dtype
    exact = copy.deepcopy(model).double()
    with random.using(random.Generator().manual_seed(seed)), no_grad():
        x = randn(samples, first.in_features, dtype=np.float64)
        weight, bias = np.eye(first.in_features), np.zeros(first.in_features)
        size = np.abs(x._array)  # the sums in the stack, if all terms had one sign
        for _, layer in stack:
            w = layer.weight._array.astype(np.float64)
            b = np.zeros(len(w)) if layer.bias is None else layer.bias._array.astype(np.float64)
            weight, bias, size = w @ weight, w @ bias + b, size @ np.abs(w).T + np.abs(b)
        one = nn.Linear(weight.shape[1], weight.shape[0], dtype=np.float64)
        one.load_state_dict({"weight": weight, "bias": bias})
        difference = float(np.abs(exact(x)._array - one(x)._array).max())
    terms = sum(layer.in_features + 1 for _, layer in stack) + first.in_features + 2
    bound = float(terms * np.finfo(np.float64).eps * size.max())
    return Collapsed(one.to(dtype), difference, bound)
