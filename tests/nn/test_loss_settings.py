"""Each setting of a loss has an effect or is refused: of the layer, of the function, and set later."""

import inspect

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.effects import With, require_effect, require_rows, same

RNG = np.random.default_rng(0)
A, B, C = (RNG.normal(size=(6, 4)).astype(np.float32) for _ in range(3))
LABELS = np.array([0, 1, 2, 3, 1, 1])
SIGNS = np.where(np.arange(6) % 2, 1, -1).astype(np.float32)
WEIGHT = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
POSITIVE = np.abs(A) + 0.1
SHARES = POSITIVE / POSITIVE.sum(axis=1, keepdims=True)
LOGS = np.log(SHARES)
SEQUENCE = (np.log(np.full((5, 2, 3), 1 / 3, np.float32) + 0.1 * np.arange(3, dtype=np.float32)),)
CTC = (*SEQUENCE, np.array([[1, 2], [2, 1]]), np.array([5, 5]), np.array([2, 2]))
SHORT = (*SEQUENCE, np.array([[1, 1], [2, 1]]), np.array([2, 5]), np.array([2, 2]))  # no path: infinite
ONES = (SIGNS > 0).astype(np.float32)
OF_ONES = (A, (B > 0).astype(np.float32))
# By loss: what it is called with, and its settings beside `reduction`, `size_average` and `reduce`.
INPUTS = {
    "BCELoss": (SHARES, OF_ONES[1]),
    "BCEWithLogitsLoss": OF_ONES,
    "CTCLoss": CTC,
    "CosineEmbeddingLoss": (A, B, SIGNS),
    "CrossEntropyLoss": (A, LABELS),
    "GaussianNLLLoss": (A, B, POSITIVE),
    "HingeEmbeddingLoss": (A, np.where(B > 0, 1, -1).astype(np.float32)),
    "KLDivLoss": (LOGS, SHARES[::-1].copy()),
    "MarginRankingLoss": (A[:, 0], B[:, 0], SIGNS),
    "MultiLabelMarginLoss": (A, np.array([[1, 2, -1, 0]] * 6)),
    "MultiLabelSoftMarginLoss": OF_ONES,
    "MultiMarginLoss": (A, LABELS),
    "NLLLoss": (LOGS, LABELS),
    "PoissonNLLLoss": (POSITIVE, POSITIVE * 3),
    "SoftMarginLoss": (A, np.where(B > 0, 1, -1).astype(np.float32)),
    "TripletMarginLoss": (A, B, C),
    "TripletMarginWithDistanceLoss": (A, B, C),
}


def distance(a, b):
    return (a - b).abs().sum(-1)


ROWS = {
    "BCELoss": {"weight": WEIGHT},
    "BCEWithLogitsLoss": {"weight": WEIGHT, "pos_weight": WEIGHT},
    "CTCLoss": {"blank": 1, "zero_infinity": With(True, {"inputs": SHORT})},
    "CosineEmbeddingLoss": {"margin": -0.5},
    "CrossEntropyLoss": {"weight": WEIGHT, "ignore_index": 1, "label_smoothing": 0.3},
    "GaussianNLLLoss": {"full": True, "eps": 2.0},
    "HingeEmbeddingLoss": {"margin": 3.0},
    "HuberLoss": {"delta": 0.1},
    "KLDivLoss": {"log_target": True},
    "MarginRankingLoss": {"margin": 2.0},
    "MultiLabelSoftMarginLoss": {"weight": WEIGHT},
    "MultiMarginLoss": {"p": 2, "margin": 2.0, "weight": WEIGHT},
    "NLLLoss": {"weight": WEIGHT, "ignore_index": 1},
    "PoissonNLLLoss": {"log_input": False, "full": True, "eps": With(0.5, {"log_input": False})},
    "SmoothL1Loss": {"beta": 0.1},
    "TripletMarginLoss": {"margin": 5.0, "p": 1.0, "eps": 0.5, "swap": True},
    "TripletMarginWithDistanceLoss": {"distance_function": distance, "margin": 5.0, "swap": True},
}
OF_ALL = {"reduction": "sum", "size_average": False, "reduce": False}


def losses():
    names = [n for n in dir(nn) if n.endswith("Loss") and isinstance(getattr(nn, n), type)]
    return {n: getattr(nn, n) for n in names if n != "AdaptiveLogSoftmaxWithLoss"}


def rows_of(name):
    taken = inspect.signature(losses()[name]).parameters
    return {**{n: v for n, v in OF_ALL.items() if n in taken}, **ROWS.get(name, {})}


def given(name, inputs=None):
    return [rv.tensor(x) for x in inputs or INPUTS.get(name, (A, B))]


def value_of(name):
    def outcome(inputs=None, **settings):
        settings = {n: rv.tensor(v) if isinstance(v, np.ndarray) else v for n, v in settings.items()}
        return losses()[name](**settings)(*given(name, inputs))

    return outcome


ALL_ROWS = [(name, setting) for name in losses() for setting in rows_of(name)]


@pytest.mark.parametrize("name", losses())
def test_each_setting_of_a_loss_has_a_row(name):
    require_rows(losses()[name], rows_of(name))


@pytest.mark.filterwarnings("ignore:.*size_average")
@pytest.mark.parametrize(("name", "setting"), ALL_ROWS)
def test_a_setting_of_a_loss(name, setting):
    require_effect(value_of(name), setting, rows_of(name)[setting])


@pytest.mark.parametrize(
    ("name", "setting"), [row for row in ALL_ROWS if row[1] not in ("size_average", "reduce")]
)
def test_a_setting_of_a_loss_that_is_set_later_is_followed_or_refused(name, setting):
    row = rows_of(name)[setting]
    value, more = row[:2] if isinstance(row, With) else (row, {})
    inputs = more.get("inputs")
    more = {n: v for n, v in more.items() if n != "inputs"}
    layer = losses()[name](**more)
    before = layer(*given(name, inputs))
    value = rv.tensor(value) if isinstance(value, np.ndarray) else value
    try:
        setattr(layer, setting, value)
    except (AttributeError, TypeError, ValueError):
        return
    expected = losses()[name](**more, **{setting: value})(*given(name, inputs))
    assert same(layer(*given(name, inputs)), expected)
    assert not same(before, expected)


@pytest.mark.parametrize("name", losses())
def test_an_unknown_reduction_is_refused(name):
    with pytest.raises(ValueError, match="got reduction 'avg'"):
        losses()[name](reduction="avg")(*given(name))


def test_a_distance_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match=r"\[TripletMarginWithDistanceLoss\] got distance_function"):
        nn.TripletMarginWithDistanceLoss(distance_function=2.0)
