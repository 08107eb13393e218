"""The network of TabularClassifier and TabularRegressor, and the preparation of a table's columns for it."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np
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

if TYPE_CHECKING:
    import numpy.typing as npt

SIZE = 8  # elements of the embedding of a number
FOREST_ROWS = 4000  # the most rows that the random forest sees
_LARGEST = 1e300  # medians and quartiles are made of numbers up to this, so that differences are finite


def is_number(value: Any) -> bool:
    """True if an object is a real number, also a Decimal."""
    return isinstance(value, Number) and not isinstance(value, complex)


def is_category(column: Any) -> bool:
    """True if a column of a data frame has strings, categories or booleans; objects may also be numbers."""
    dtype_name = str(getattr(column, "dtype", None)).lower()
    if dtype_name == "object":
        values = np.asarray(column, object).ravel().tolist()
        return any(isinstance(v, bool) or not (is_missing(v) or is_number(v)) for v in values)
    beginnings = ("bool", "categor", "string", "large_string", "enum", "dictionary")
    return dtype_name == "str" or dtype_name.startswith(beginnings)


# A number as people write it, with points or commas between thousands; and a code with leading zeros.
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
        if x.size:
            low, high = np.nanpercentile(filled, [25, 75], axis=0)
        else:  # no column of numbers
            low = x[0]
            high = x[0]
        spread = np.nanmax(filled, axis=0) - np.nanmin(filled, axis=0)
        width = np.where(high > low, high - low, spread / 2)
        least = np.maximum(width, 1 / _LARGEST)
        self._factor = np.divide(1.0, least, out=np.zeros_like(width), where=width > 0)
        self.classes = [np.unique(column[column >= 0]) for column in table[:, categorical].T]
        number_columns = np.flatnonzero(~categorical)
        missing_columns = number_columns[self._has_missing]
        one_hot_columns: list[int] = []  # for each column of zeros and ones, the column of categories
        index_columns: list[int] = []
        self.categories: list[int] = []
        for column, classes in zip(np.flatnonzero(categorical).tolist(), self.classes, strict=True):
            if len(classes) > ONE_HOT:
                index_columns.append(column)
                self.categories.append(len(classes) + 1)
            elif len(classes) == 2:
                one_hot_columns.append(column)
            else:
                one_hot_columns.extend([column] * len(classes))
        self.numbers = x.shape[1]
        self.plain = len(missing_columns) + len(one_hot_columns)
        category_columns = np.array(one_hot_columns + index_columns, np.int64)
        self.origin = np.concatenate([number_columns, missing_columns, category_columns])

    def apply(self, table: Array) -> npt.NDArray[np.float32]:
        """The columns for the network, (n, numbers + plain + len(categories))."""
        x = table[:, ~self.categorical].astype(np.float64)
        missing = np.isnan(x)
        filled = np.where(missing, self._median, x)  # so that a missing number becomes 0
        with np.errstate(over="ignore"):
            scaled = (filled - self._median) * self._factor
        scaled = np.clip(scaled, -1e9, 1e9)  # beyond, the next line gives 3 to the bit
        scaled /= np.sqrt(1 + (scaled / 3) ** 2)
        plain = [missing[:, self._has_missing]]
        indices = []
        for column, classes in zip(table[:, self.categorical].T, self.classes, strict=True):
            same = column[:, None] == classes  # (n, classes), at most one True in a row
            if len(classes) > ONE_HOT:
                index = np.where(same.any(axis=1), same.argmax(axis=1) + 1, 0)  # 0: an unknown class
                indices.append(index[:, None])
            elif len(classes) == 2:
                plain.append((same * [-1, 1]).sum(axis=1, keepdims=True))
            else:
                plain.append(same)
        return np.concatenate([scaled, *plain, *indices], axis=1).astype(np.float32)


def forest_splits(x: Array, y: Array, weights: Array | None, random_state: np.random.RandomState) -> Array:
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
    forest_class = RandomForestClassifier if y.ndim == 1 else RandomForestRegressor
    forest = forest_class(
        20,
        max_depth=6,
        min_samples_leaf=5,
        max_features=min(0.5, 16 / x.shape[1]),
        n_jobs=1,
        random_state=random_state,
    )
    target = y[rows]
    if y.shape[1:] == (1,):
        target = target.ravel()
    relative_weights = None if weights is None else weights[rows] / weights.max()
    forest.fit(x[rows], target, relative_weights)
    splits = []
    total_impurity = 0.0
    for estimator in forest.estimators_:
        tree = estimator.tree_
        # Nodes with children; -1 stands for "no child". A node's gain is its impurity less that of both.
        inner = np.flatnonzero(tree.children_left >= 0)
        impurity = tree.impurity * tree.weighted_n_node_samples
        rest = impurity[tree.children_left[inner]] + impurity[tree.children_right[inner]]
        gain = np.maximum(impurity[inner] - rest, 0.0)
        splits.append(np.stack([tree.feature[inner], tree.threshold[inner], gain], axis=1))
        total_impurity += impurity[0]  # of the root
    found = np.concatenate(splits)
    if total_impurity > 0:
        found[:, 2] /= total_impurity
    return found


STEP_THRESHOLDS = 16  # the most thresholds that `step_edges` takes, of all columns
STEP_EDGES = 8  # the most edges in a column, two for each threshold


def step_edges(x: Array, splits: Array) -> dict[int, list[float]]:
    """{column: edges} of narrow bins where the target jumps: the numbers on both sides of a threshold.

    The forest's splits of a column with a jump are close together; those of a column with a smooth effect are
    scattered. A threshold is taken if the splits within 1 % of the rows around it have at least 40 % of the
    gain of those within 15 %. There are up to 16 thresholds, those with the most gain, and up to 4 per
    column.

    x: (n, columns). splits: (splits, 3), of `forest_splits`.
    """
    edges: dict[int, list[float]] = {}
    if len(splits) == 0:
        return edges
    columns = splits[:, 0].astype(np.int64)
    thresholds = splits[:, 1]
    gains = splits[:, 2]
    # The rank of a threshold is the share of the rows that are not above it. `distance` of two splits,
    # (splits, splits), is the share of the rows between them, infinite for those of different columns.
    rank = np.array([(x[:, c] <= t).mean() for c, t in zip(columns, thresholds, strict=True)])
    distance = np.where(columns[:, None] == columns, np.abs(rank[:, None] - rank), np.inf)
    near = distance <= 0.01
    is_jump = near @ gains >= 0.4 * ((distance <= 0.15) @ gains)
    remaining = np.where(is_jump, gains, 0.0)  # the gains of thresholds that may still be taken
    for _ in range(STEP_THRESHOLDS):
        gains_around = near @ remaining
        best = int(gains_around.argmax())
        if gains_around[best] <= 1e-3 * gains.sum():  # what is left explains next to nothing
            break
        remaining[distance[best] <= 0.02] = 0.0  # other thresholds of the same jump
        values = x[:, columns[best]]
        above = values > thresholds[best]
        lower = float(values[~above].max(initial=-np.inf))
        upper = float(values[above].min(initial=np.inf))
        column_edges = edges.setdefault(int(columns[best]), [])
        if len(column_edges) < STEP_EDGES and 1e-6 < upper - lower < np.inf:
            column_edges += [lower, upper]
    return edges


def quantile_edges(numbers: Array, bins: int, more: dict[int, list[float]] | None = None) -> Array | None:
    """Edges (columns, edges) of bins that have equally many of the numbers (n, columns); None without bins.

    more: further edges for some columns. Equal edges are removed; then the last edge of a column is repeated,
    so that all columns have the same number.
    """
    if bins == 0 or numbers.shape[1] == 0:
        return None
    sample = numbers[:: max(len(numbers) // 50_000, 1)]
    quantiles = np.quantile(sample, np.linspace(0, 1, bins + 1), axis=0).T
    further = more or {}
    edges = [np.unique([*column, *further.get(i, [])]) for i, column in enumerate(quantiles)]
    count = max(2, *map(len, edges))
    return np.array([np.pad(column, (0, count - len(column)), "edge") for column in edges])


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

    slope: Tensor  # (features, 1, bins), 1 / (edge_(t+1) - edge_t)
    offset: Tensor  # (features, 1, bins), -edge_t slope: e_t(x) = clip(x slope + offset, 0, 1)

    def __init__(self, edges: Array, size: int = 8) -> None:
        super().__init__()
        self.size = size
        width = np.diff(edges, axis=1)[:, None]  # (features, 1, bins); 0 for equal edges, whose slope is 0
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
            size = 1  # elements of the embedding of one number
        else:
            self.embedding = PiecewiseLinearEmbedding(edges, SIZE)
            size = SIZE
        self.rest = nn.CategoryEmbedding(plain, categories)
        width = numbers * size + self.rest.width
        self.scale = nn.Parameter(empty(members, 1, width))
        init.normal_(self.scale)
        if shares is not None:
            factors = _scale_factors(np.repeat(shares, [size] * numbers + [1] * plain), len(shares), width)
            with no_grad():
                self.scale *= tensor(factors)
        self.body = _make_body([width, *hidden], activation, dropout)
        self.head = nn.Parameter(empty(members, hidden[-1], outputs))
        bound = 1 / math.sqrt(hidden[-1])
        init.uniform_(self.head, -bound, bound)
        self.bias = nn.Parameter(zeros(members, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        parts: list[Tensor] = []
        if self.numbers:
            parts.append(self.embedding(x[:, : self.numbers]))
        if self.rest.width:
            parts.append(self.rest(x[:, self.numbers :]))
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


def _scale_factors(shares: Array, columns: int, width: int) -> npt.NDArray[np.float32]:
    """Factors (width,) of the scalings by the importance of columns: the mean of their squares is about 1.

    Args:
        shares: the importance of the column of each element of the embedding, numbers and plain columns.
        columns: the number of these columns.
        width: elements of the embedding; those of categories, at its end, have factor 1.
    """
    squares = 0.1 + 0.9 * columns * shares
    factors = np.pad(np.sqrt(squares), (0, width - len(squares)), constant_values=1.0)
    return factors.astype(np.float32)


def _make_body(sizes: Sequence[int], activation: str, dropout: float) -> nn.Sequential:
    """The hidden layers, with the given number of elements before, between and after them."""
    layers: list[nn.Module] = []
    for inputs, units in itertools.pairwise(sizes):
        layer = nn.Linear(inputs, units)
        init.kaiming_normal_(layer.weight, nonlinearity="relu")
        layers += [layer, named(activation)]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


class MemberCrossEntropy(nn.CrossEntropyLoss):
    """Cross-entropy of scores (N, classes), or of those of several members (N, classes, members)."""

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        if x.ndim == 3:
            target = target.unsqueeze(1).expand(x.shape[0], x.shape[2])
        return super().forward(x, target)


def _for_members(target: Tensor, x: Tensor) -> Tensor:
    """Targets (N, outputs) in the shape of the outputs x, which may have a further axis of members."""
    if x.ndim == 3:
        return target.unsqueeze(2).expand(x.shape)
    return target


class MemberSquaredError(nn.MSELoss):
    """Squared error of values (N, outputs), or of those of several members (N, outputs, members)."""

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return super().forward(x, _for_members(target, x))


class MemberPoisson(nn.PoissonNLLLoss):
    """exp(z) - target z, for logarithms z (N, outputs), or of several members (N, outputs, members)."""

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return super().forward(x, _for_members(target, x))
