"""PyTorch's side of the cases."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

torch.set_num_threads(int(os.environ["RANVIER_PEER_THREADS"]))


def version() -> str:
    return str(torch.__version__)


def to_numpy(result: Any) -> np.ndarray:
    return result.detach().numpy() if isinstance(result, torch.Tensor) else np.asarray(result)


def matmul(a: np.ndarray, b: np.ndarray) -> Callable[[], Any]:
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    return lambda: x @ y
