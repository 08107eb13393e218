"""scikit-learn's side of the cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn


def version() -> str:
    return str(sklearn.__version__)


def to_numpy(result: Any) -> np.ndarray:
    return np.asarray(result)
