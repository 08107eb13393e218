"""The network of TabularClassifier and TabularRegressor, and the preparation of a table's columns for it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from numbers import Number
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

import ranvier.nn as nn
import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier import empty, no_grad, tensor, zeros
from ranvier.autograd import Tensor
from ranvier.nn.activation import named
from ranvier.nn.embedding import ONE_HOT
from ranvier.tensors.memory import Array
from ranvier.train.arrays import is_missing

SIZE = 8  # elements of the embedding of a number
FOREST_ROWS = 4000  # the most rows that the random forest sees
_LARGEST = 1e300  # medians and quartiles are made of numbers up to this, so that differences are finite


def is_number(value: Any) -> bool:
    """True if an object is a real number, also a Decimal."""
    return isinstance(value, Number) and not isinstance(value, complex)


def is_category(column: Any) -> bool:
    """True if a column of a data frame has strings, categories or booleans; objects may also be numbers."""
    kind = getattr(column, "dtype", None)
    name = str(kind).lower()
    if name == "object":
        values = np.asarray(column, object).ravel().tolist()
        return any(isinstance(v, bool) or not (is_missing(v) or is_number(v)) for v in values)
    beginnings = ("bool", "categor", "string", "large_string", "enum", "dictionary")
    return name == "str" or name.startswith(beginnings)


_NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d{3})*([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?\s*")
_CODE = re.compile(r"\s*[+-]?0\d+\s*")


def is_number_text(column: Any) -> bool:
    """True if all values of a column of text are numbers, such as "1.50", "1,50" and "1,234.5".

    A number has no leading zero: with "01234" among them they are codes, as of places or products.
    """
    if str(getattr(column, "dtype", "")).lower().startswith(("categor", "enum", "dictionary")):
        return False
    values = [v for v in np.asarray(column, object).ravel().tolist() if not is_missing(v)]
    if any(isinstance(v, str) and _CODE.fullmatch(v) for v in values):
        return False
    return bool(values) and all(isinstance(v, str) and _NUMBER.fullmatch(v) for v in values)


class Columns:
    """Converts the columns of tables for the network, with numbers measured from the training table.

    Numbers: (x - median) / (upper - lower quartile), or for a column whose quartiles are equal
    2 (x - median) / (max - min), then x / sqrt(1 + (x / 3)^2), which keeps outliers within -3 and 3. A
    missing number becomes 0. If a column had missing numbers in the training data, a second column is 1 where
    the number is missing and else 0.

    Categories: a column of up to 8 classes becomes a column of zeros and ones for each class, of two classes
    one column of -1 and 1; of more classes a column of indices for an embedding. Missing and unknown classes
    have zeros, or index 0.

    Args:
        table: (n, columns), numbers; categories as codes, which are -1 where missing.
        categorical: for each column, whether it is one of categories.

    Attributes:
        numbers, plain: how many columns of scaled numbers, and then of zeros and ones, `apply` makes.
        categories: the number of indices of each further column, its classes and 1 for unknown ones.
        origin: for each column that `apply` makes, the index of the table's column that it is made from.

    Source: Holzmüller, Grinsztajn and Steinwart, "Better by default" (2024).
    """

    def __init__(self, table: Array, categorical: Array) -> None:
        self.categorical = categorical
        x = table[:, ~categorical].astype(np.float64)
        self._has_missing = np.isnan(x).any(axis=0)
        filled = np.where(np.isnan(x).all(axis=0), 0.0, x)  # columns without any number are 0
        filled = np.clip(filled, -_LARGEST, _LARGEST)
        self._median = np.nanmedian(filled, axis=0)
        low, high = np.nanpercentile(filled, [25, 75], axis=0) if x.size else (x[0], x[0])
        spread = np.nanmax(filled, axis=0) - np.nanmin(filled, axis=0)
        width = np.where(high > low, high - low, spread / 2)
        least = np.maximum(width, 1 / _LARGEST)
        self._factor = np.divide(1.0, least, out=np.zeros_like(width), where=width > 0)
        self.classes = [np.unique(column[column >= 0]) for column in table[:, categorical].T]
        counts = [len(classes) for classes in self.classes]
        self.numbers = x.shape[1]
        one_hot = sum(1 if count == 2 else count for count in counts if count <= ONE_HOT)
        self.plain = int(self._has_missing.sum()) + one_hot
        self.categories = [count + 1 for count in counts if count > ONE_HOT]
        of_numbers = np.flatnonzero(~categorical)
        of_classes = np.flatnonzero(categorical)
        pairs = zip(of_classes, counts, strict=True)
        few = [np.repeat(i, 1 if c == 2 else c) for i, c in pairs if c <= ONE_HOT]
        many = [i for i, c in zip(of_classes, counts, strict=True) if c > ONE_HOT]
        self.origin = np.concatenate([of_numbers, of_numbers[self._has_missing], *few, many]).astype(np.int64)

    def apply(self, table: Array) -> npt.NDArray[np.float32]:
        """The columns for the network, (n, numbers + plain + len(categories))."""
        x = table[:, ~self.categorical].astype(np.float64)
        missing = np.isnan(x)
        with np.errstate(over="ignore"):
            scaled = (np.where(missing, self._median, x) - self._median) * self._factor
        scaled = np.clip(scaled, -1e9, 1e9)  # beyond, the next line gives 3 to the bit
        scaled /= np.sqrt(1 + (scaled / 3) ** 2)
        plain = [missing[:, self._has_missing]]
        indices = []
        for column, classes in zip(table[:, self.categorical].T, self.classes, strict=True):
            same = column[:, None] == classes
            if len(classes) > ONE_HOT:
                indices.append(np.where(same.any(axis=1), same.argmax(axis=1) + 1, 0)[:, None])
            elif len(classes) == 2:
                plain.append((same * [-1, 1]).sum(axis=1, keepdims=True))
            else:
                plain.append(same)
        return np.concatenate([scaled, *plain, *indices], axis=1).astype(np.float32)


def forest_splits(x: Array, y: Array, weights: Array | None, random_state: Any) -> Array:
    """The splits in a random forest of 20 trees, (splits, 3).

    A split has its column, its threshold, and the share of the impurity that it removes. The sum of the
    shares is the share that the forest explains of the targets that it sees: of up to 4,000 rows.

    y: class indices (n,), or values (n, outputs). There are no splits if most rows have a class of their own.
    """
    if weights is None:
        rows = np.arange(len(x))
    else:
        rows = np.flatnonzero(weights)
    rows = random_state.permutation(rows)[:FOREST_ROWS]
    if y.ndim == 1 and 2 * len(np.unique(y[rows])) > len(rows):
        return np.empty((0, 3))
    settings = {"max_depth": 6, "min_samples_leaf": 5, "max_features": min(0.5, 16 / x.shape[1]), "n_jobs": 1}
    if y.ndim == 1:
        make = RandomForestClassifier
    else:
        make = RandomForestRegressor
    target = y[rows].ravel() if y.shape[1:] == (1,) else y[rows]
    forest = make(20, random_state=random_state, **settings)
    shares = None if weights is None else weights[rows] / weights.max()
    splits = []
    whole = 0.0
    for estimator in forest.fit(x[rows], target, shares).estimators_:
        tree = estimator.tree_
        inner = np.flatnonzero(tree.children_left >= 0)
        impurity = tree.impurity * tree.weighted_n_node_samples
        rest = impurity[tree.children_left[inner]] + impurity[tree.children_right[inner]]
        gain = np.maximum(impurity[inner] - rest, 0.0)
        splits.append(np.stack([tree.feature[inner], tree.threshold[inner], gain], axis=1))
        whole += impurity[0]
    found = np.concatenate(splits)
    found[:, 2] /= whole if whole > 0 else 1.0
    return found


def step_edges(x: Array, splits: Array) -> dict[int, list[float]]:
    """{column: edges} of narrow bins where the target jumps: the numbers on both sides of a threshold.

    The forest's splits of a column with a jump are close together; those of a column with a smooth effect are
    scattered. A threshold is taken if the splits within 1 % of the rows around it have at least 40 % of the
    gain of those within 15 %. There are up to 16 thresholds, those with the most gain, and up to 4 per
    column.

    x: (n, columns). splits: (splits, 3), of `forest_splits`.
    """
    columns = splits[:, 0].astype(np.int64)
    thresholds, gains = splits[:, 1:].T
    rank = np.array([(x[:, c] <= t).mean() for c, t in zip(columns, thresholds, strict=True)])
    apart = np.where(columns[:, None] == columns, np.abs(rank[:, None] - rank), np.inf)
    near = apart <= 0.01
    left = np.where(near @ gains >= 0.4 * ((apart <= 0.15) @ gains), gains, 0.0)
    edges: dict[int, list[float]] = {}
    for _ in range(16 if len(gains) else 0):
        sums = near @ left
        best = int(sums.argmax())
        if sums[best] <= 1e-3 * gains.sum():
            break
        left[apart[best] <= 0.02] = 0.0
        column = x[:, columns[best]]
        of_column = edges.setdefault(int(columns[best]), [])
        above = column > thresholds[best]
        ends = [float(column[~above].max(initial=-np.inf)), float(column[above].min(initial=np.inf))]
        if len(of_column) < 8 and 1e-6 < ends[1] - ends[0] < np.inf:
            of_column += ends
    return edges


def quantile_edges(numbers: Array, bins: int, more: dict[int, list[float]] | None = None) -> Array | None:
    """Edges (columns, edges) of bins that have equally many of the numbers (n, columns); None without bins.

    more: further edges for some columns. Equal edges are removed; then the last edge of a column is repeated,
    so that all columns have the same number.
    """
    if not bins or not numbers.shape[1]:
        return None
    sample = numbers[:: max(len(numbers) // 50_000, 1)]
    quantiles = np.quantile(sample, np.linspace(0, 1, bins + 1), axis=0).T
    edges = [np.unique([*column, *(more or {}).get(i, [])]) for i, column in enumerate(quantiles)]
    most = max(2, *map(len, edges))
    return np.array([np.pad(column, (0, most - len(column)), "edge") for column in edges])


class PiecewiseLinearEmbedding(nn.Module):
    """Each number x as y = e(x) W + x v + b, where e_t(x) = clip((x - edge_t) / (edge_(t+1) - edge_t), 0, 1).

    x (N, features), y (N, features * size). W (bins, size), v and b (size) are learnt for each feature; W
    starts as zeros.

    Args:
        edges: (features, bins + 1), not decreasing; equal ones make no bin.
        size: the numbers of y for each feature.

    Source: Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular deep learning"
    (2022); in this form "TabM" (2024).

    >>> import numpy as np
    >>> import ranvier as rv
    >>> from ranvier.sklearn.tabular_network import PiecewiseLinearEmbedding
    >>> PiecewiseLinearEmbedding(np.array([[0, 1, 3], [0, 2, 2]]), 4)(rv.zeros(5, 2)).shape
    (5, 8)
    """

    slope: Tensor  # (features, 1, bins)
    offset: Tensor

    def __init__(self, edges: Array, size: int = 8) -> None:
        super().__init__()
        self.size = size
        width = np.diff(edges, axis=1)[:, None]
        slope = np.divide(1.0, width, out=np.zeros(width.shape), where=width > 0)
        self.register_buffer("slope", tensor(slope.astype(np.float32)))
        self.register_buffer("offset", tensor((-edges[:, None, :-1] * slope).astype(np.float32)))
        features = len(edges)
        bins = width.shape[2]
        self.linear = nn.Parameter(empty(features, 1, size))
        init.normal_(self.linear, 0.0, 0.5)
        self.weight = nn.Parameter(zeros(features, bins, size))
        self.bias = nn.Parameter(empty(features, 1, size))
        init.uniform_(self.bias, -0.5, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        columns = x.T.unsqueeze(2)  # (features, N, 1)
        shares = ops.clamp(columns * self.slope + self.offset, 0.0, 1.0)  # (features, N, bins)
        y = ops.matmul(shares, self.weight) + columns * self.linear + self.bias
        return y.permute(1, 0, 2).reshape(x.shape[0], -1)


class TabularNetwork(nn.Module):
    """An ensemble of multi-layer perceptrons, the members, which share their hidden layers.

    Each member k has its own scalings r_k of the embedded columns, and its own last layer V_k, b_k:

        z_k = body(r_k * embedded(x)),  y_k = z_k V_k + b_k

    x (N, columns): numbers, then columns that are taken as they are, then class indices of categories.
    y (N, outputs), the mean of the members; in training (N, outputs, members).

    Args:
        numbers, plain: how many columns there are of both kinds.
        categories: the number of classes of each column of categories.
        outputs: classes or values.
        edges: the edges of the piecewise linear embedding of numbers; None leaves them as they are.
        hidden: units of each hidden layer.
        members: perceptrons.
        activation: the name of the activation of the hidden layers.
        dropout: after each hidden layer.
        probabilities: y is the logarithm of the mean over the members of their softmax.
        shares: the importance of each number and plain column, sum 1: important ones start with larger
            scalings; None for equal ones.

    Source: Gorishniy, Kotelnikov and Babenko, "TabM: Advancing tabular deep learning with parameter-efficient
    ensembling" (2024), "TabM-mini".

    >>> import ranvier as rv
    >>> from ranvier.sklearn.tabular_network import TabularNetwork
    >>> model = TabularNetwork(3, 1, [5], 2, hidden=(8,), members=4)
    >>> model(rv.zeros(6, 5)).shape, model.eval()(rv.zeros(6, 5)).shape
    ((6, 2, 4), (6, 2))
    """

    def __init__(
        self,
        numbers: int,
        plain: int,
        categories: Sequence[int],
        outputs: int,
        *,
        edges: Array | None = None,
        hidden: Sequence[int] = (64, 64),
        members: int = 8,
        activation: str = "relu",
        dropout: float = 0.0,
        probabilities: bool = False,
        shares: Array | None = None,
    ) -> None:
        super().__init__()
        self.numbers = numbers
        self.probabilities = probabilities
        if edges is None:
            self.embedding = nn.Identity()
        else:
            self.embedding = PiecewiseLinearEmbedding(edges, SIZE)
        each = 1 if edges is None else SIZE  # elements of the embedding of one number
        self.rest = nn.CategoryEmbedding(plain, categories)
        width = numbers * each + self.rest.width
        self.scale = nn.Parameter(empty(members, 1, width))
        init.normal_(self.scale)
        if shares is not None:  # the sum of squares stays about the same
            squares = 0.1 + 0.9 * len(shares) * np.repeat(shares, [each] * numbers + [1] * plain)
            factor = np.pad(np.sqrt(squares), (0, width - len(squares)), constant_values=1.0)
            with no_grad():
                self.scale *= tensor(factor.astype(np.float32))
        layers: list[nn.Module] = []
        for before, after in zip([width, *hidden[:-1]], hidden, strict=True):
            layer = nn.Linear(before, after)
            init.kaiming_normal_(layer.weight, nonlinearity="relu")
            layers += [layer, named(activation), *[nn.Dropout(dropout)] * bool(dropout)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Parameter(empty(members, hidden[-1], outputs))
        init.uniform_(self.head, -1 / math.sqrt(hidden[-1]), 1 / math.sqrt(hidden[-1]))
        self.bias = nn.Parameter(zeros(members, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        if self.numbers:
            parts = [self.embedding(x[:, : self.numbers])]
        else:
            parts = []
        parts += [self.rest(x[:, self.numbers :])] if self.rest.width else []
        z = ops.cat(parts, 1) if len(parts) > 1 else parts[0]
        z = self.body(z.unsqueeze(0) * self.scale)  # (members, N, units)
        y = ops.matmul(z, self.head) + self.bias  # (members, N, outputs)
        if self.training:
            return y.permute(1, 2, 0)
        if self.probabilities:
            y = ops.softmax(y, 2)
        y = y.permute(1, 2, 0).contiguous().mean(2)  # in an order that does not depend on N
        if self.probabilities:
            return ops.log(y)
        return y


class MemberCrossEntropy(nn.CrossEntropyLoss):
    """Cross-entropy of scores (N, classes), or of those of several members (N, classes, members)."""

    def forward(self, x: Any, target: Any) -> Tensor:
        if x.ndim == 3:
            target = target.unsqueeze(1).expand(x.shape[0], x.shape[2])
        return super().forward(x, target)


class _OfMembers:
    """A loss of values (N, outputs), or of those of several members (N, outputs, members)."""

    def forward(self, x: Any, target: Any) -> Any:
        if x.ndim == 3:
            target = target.unsqueeze(2).expand(x.shape)
        return super().forward(x, target)  # type: ignore[misc]


class MemberSquaredError(_OfMembers, nn.MSELoss):
    """Squared error of values (N, outputs), or of those of several members (N, outputs, members)."""


class MemberPoisson(_OfMembers, nn.PoissonNLLLoss):
    """exp(z) - target z, for logarithms z (N, outputs), or of several members (N, outputs, members)."""
