"""Calls of the metrics on random data, ties and degenerate data.

`python tests/support/metric_cases.py` writes what scikit-learn answers to tests/metrics/expected.json.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

EXPECTED = Path(__file__).parent.parent / "metrics" / "expected.json"
RNG = np.random.default_rng(5)
N = 60
TWO, TWO_FOUND = RNG.integers(0, 2, N), RNG.integers(0, 2, N)
FOUR = RNG.integers(0, 4, N)
FOUR_FOUND = np.where(RNG.random(N) < 0.6, FOUR, RNG.integers(0, 4, N))
WORDS = np.array(["cat", "dog", "emu", "fox"])
TIED = np.round(RNG.random(N), 1)  # of ten values
PROBA = RNG.dirichlet(np.ones(4), N)
ROUGH = np.round(PROBA * 4) / 4  # ties; rows of any sum
REAL, REAL_FOUND = RNG.normal(size=N), RNG.normal(size=N)
TABLE, TABLE_FOUND = RNG.normal(size=(N, 3)), RNG.normal(size=(N, 3))
NEVER = (np.array([0, 1, 2, 2]), np.array([0, 0, 0, 1]))  # 2 is never predicted
DISJOINT = (np.array([0, 0, 1]), np.array([2, 3, 3]))
ONE = (np.ones(5, int), np.ones(5, int))

Case = tuple[str, tuple[Any, ...], dict[str, Any]]


def _of_labels() -> list[Case]:
    cases: list[Case] = []
    for arrays in (
        (TWO, TWO_FOUND),
        (FOUR, FOUR_FOUND),
        (WORDS[FOUR], WORDS[FOUR_FOUND]),
        NEVER,
        DISJOINT,
        ONE,
    ):
        cases += [("accuracy_score", arrays, {}), ("confusion_matrix", arrays, {})]
        for average in ("macro", "micro", "weighted", None):
            for name in ("precision_score", "recall_score", "f1_score"):
                cases.append((name, arrays, {"average": average}))
        if arrays is not DISJOINT:  # its text has supports as floats in scikit-learn
            cases.append(("classification_report", arrays, {}))
    for name in ("precision_score", "recall_score", "f1_score"):
        cases += [(name, (TWO, TWO_FOUND), {}), (name, (TWO, TWO_FOUND), {"pos_label": 0})]
        cases.append((name, (np.zeros(3, int), np.zeros(3, int)), {}))
    chosen = {"labels": [2, 0], "target_names": ["two", "nothing at all"]}
    cases.append(("classification_report", (FOUR, FOUR_FOUND), chosen))
    cases.append(("confusion_matrix", (FOUR, FOUR_FOUND), {"labels": [3, 0, 9]}))
    return cases


def _of_scores() -> list[Case]:
    cases: list[Case] = []
    for true in (TWO, 2 * TWO - 1, np.array(["no", "yes"])[TWO]):
        cases += [("roc_auc_score", (true, score), {}) for score in (REAL, TIED, np.zeros(N))]
    cases.append(("roc_auc_score", (np.ones(4, int), np.arange(4.0)), {}))
    for kind in ("ovr", "ovo"):
        for average in ("macro", "weighted"):
            settings = {"multi_class": kind, "average": average}
            cases.append(("roc_auc_score", (WORDS[FOUR], PROBA), settings))
            settings = {"labels": [0, 1, 2, 3], **settings}  # of which the last has no sample
            cases.append(("roc_auc_score", (np.where(FOUR == 3, 0, FOUR), PROBA), settings))
    for k in (1, 2, 3, 4):
        cases += [("top_k_accuracy_score", (FOUR, score), {"k": k}) for score in (PROBA, ROUGH)]
    cases += [("top_k_accuracy_score", (TWO, score), {"k": 1}) for score in (TIED, REAL)]
    cases += [("log_loss", (FOUR, PROBA), {}), ("log_loss", (TWO, TIED), {})]
    cases.append(("log_loss", (np.zeros(4, int), PROBA[:4]), {"labels": [0, 1, 2, 3]}))
    cases.append(("log_loss", (np.array([0, 1, 0]), np.eye(2)[[0, 1, 1]]), {}))  # certain
    return cases


def _of_values() -> list[Case]:
    flat = np.full(4, 2.0)
    pairs = ((REAL, REAL_FOUND), (TABLE, TABLE_FOUND), (flat, flat), (flat, np.arange(4.0)), ([1.0], [2.0]))
    names = ("mean_squared_error", "root_mean_squared_error", "mean_absolute_error", "r2_score")
    return [(name, pair, {}) for name in names for pair in pairs]


CASES: list[Case] = [*_of_labels(), *_of_scores(), *_of_values()]


def plain(value: Any) -> Any:
    """An answer as JSON holds it."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (tuple, list, np.ndarray)):
        return [plain(part) for part in value]
    return value if value is None or isinstance(value, str) else float(value)


def theirs(case: Case) -> Any:
    """scikit-learn's answer."""
    from sklearn import metrics

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return plain(getattr(metrics, case[0])(*case[1], **case[2]))


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(theirs(case)) for case in CASES)
    EXPECTED.write_text(f"[\n{lines}\n]\n")
