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
WEIGHTS = np.round(64 * RNG.uniform(0, 2, N)) / 64  # sums are exact, as texts that show them need
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
    pairs = [(TWO, TWO_FOUND), (FOUR, FOUR_FOUND), (WORDS[FOUR], WORDS[FOUR_FOUND]), NEVER, DISJOINT, ONE]
    for true, found in pairs:
        weights = WEIGHTS[: len(true)]
        for more in ({}, {"sample_weight": weights}):
            cases.append(("accuracy_score", (true, found), more))
            cases.append(("confusion_matrix", (true, found), more))
        cases.append(("accuracy_score", (true, found), {"normalize": False}))
        for normalize in ("true", "pred", "all"):
            cases.append(("confusion_matrix", (true, found), {"normalize": normalize}))
        for average in ("macro", "micro", "weighted", None):
            for zero in (0, 1, float("nan")):
                settings = {"average": average, "zero_division": zero}
                for name in ("precision", "recall", "f1"):
                    cases.append((f"{name}_score", (true, found), settings))
            for beta in (0.5, 2.0):
                settings = {"average": average, "beta": beta, "zero_division": 0, "sample_weight": weights}
                name = "precision_recall_fscore_support"
                cases.append((name, (true, found), settings))
        for more in ({}, {"sample_weight": weights}, {"digits": 4}, {"output_dict": True}):
            name = "classification_report"
            if true is not DISJOINT[0] or "output_dict" in more:  # its text has supports as floats there
                cases.append((name, (true, found), {"zero_division": 0, **more}))
    for name in ("precision", "recall", "f1"):
        for more in ({}, {"pos_label": 0}, {"sample_weight": WEIGHTS}):
            cases.append((f"{name}_score", (TWO, TWO_FOUND), more))
        cases.append((f"{name}_score", (np.zeros(3, int), np.zeros(3, int)), {"zero_division": 1}))
        for labels in ([1, 3], [3, 1, 7]):
            for average in ("macro", "micro", "weighted", None):
                settings = {"labels": labels, "average": average, "zero_division": 0}
                cases.append((f"{name}_score", (FOUR, FOUR_FOUND), settings))
    chosen = {"labels": [2, 0], "target_names": ["two", "nothing at all"], "zero_division": 0}
    for more in ({}, {"output_dict": True}):
        name = "classification_report"
        cases.append((name, (FOUR, FOUR_FOUND), {**chosen, **more}))
    cases.append(("confusion_matrix", (FOUR, FOUR_FOUND), {"labels": [3, 0, 9]}))
    return cases


def _of_scores() -> list[Case]:
    cases: list[Case] = []
    for more in ({}, {"sample_weight": WEIGHTS}):
        for true in (TWO, 2 * TWO - 1, np.array(["no", "yes"])[TWO]):
            for score in (REAL, TIED, np.zeros(N)):
                cases.append(("roc_auc_score", (true, score), more))
        for average in ("macro", "weighted", "micro", None):
            settings = {"multi_class": "ovr", "average": average, **more}
            cases.append(("roc_auc_score", (FOUR, PROBA), settings))
        for k in (1, 2, 3, 4):
            for score in (PROBA, ROUGH):
                cases.append(("top_k_accuracy_score", (FOUR, score), {"k": k, **more}))
        cases.append(("top_k_accuracy_score", (TWO, TIED), {"k": 1, **more}))
        cases.append(("top_k_accuracy_score", (TWO, REAL), {"k": 1, **more}))
        cases.append(("log_loss", (FOUR, PROBA), more))
        cases.append(("log_loss", (TWO, TIED), more))
        cases.append(("log_loss", (FOUR, PROBA), {"normalize": False, **more}))
    for average in ("macro", "weighted"):
        settings = {"multi_class": "ovo", "average": average}
        cases.append(("roc_auc_score", (WORDS[FOUR], PROBA), settings))
    cases.append(("roc_auc_score", (np.ones(4, int), np.arange(4.0)), {}))
    for more in (
        {"multi_class": kind, "average": a} for kind in ("ovr", "ovo") for a in ("macro", "weighted")
    ):
        settings = {"labels": [0, 1, 2, 3], **more}  # of which the last has no sample
        cases.append(("roc_auc_score", (np.where(FOUR == 3, 0, FOUR), PROBA), settings))
    cases.append(("log_loss", (np.zeros(4, int), PROBA[:4]), {"labels": [0, 1, 2, 3]}))
    certain = np.eye(2)[[0, 1, 1]]
    cases.append(("log_loss", (np.array([0, 1, 0]), certain), {}))
    return cases


def _of_values() -> list[Case]:
    cases: list[Case] = []
    names = ("mean_squared_error", "root_mean_squared_error", "mean_absolute_error", "r2_score")
    flat = np.full(4, 2.0)
    for name in names:
        for more in ({}, {"sample_weight": WEIGHTS}):
            cases.append((name, (REAL, REAL_FOUND), more))
            for multioutput in ("uniform_average", "raw_values", [0.2, 0.3, 0.5]):
                cases.append((name, (TABLE, TABLE_FOUND), {"multioutput": multioutput, **more}))
        cases.append((name, (flat, flat), {}))
        cases.append((name, (flat, np.arange(4.0)), {}))
        cases.append((name, ([1.0], [2.0]), {}))
    for force in (True, False):
        cases.append(("r2_score", (flat, np.arange(4.0)), {"force_finite": force}))
        cases.append(("r2_score", (flat, flat), {"force_finite": force}))
    cases.append(("r2_score", (TABLE, TABLE_FOUND), {"multioutput": "variance_weighted"}))
    return cases


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
