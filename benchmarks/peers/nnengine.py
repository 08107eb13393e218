"""nn-engine-core's side of the cases: its fit is a loop in C++, on one thread."""

from __future__ import annotations

from importlib import metadata
from itertools import pairwise
from typing import Any

import nnengine as nn
import numpy as np

from benchmarks.training.fits import CASES, LR, Fit


def version() -> str:
    return metadata.version("nn-engine-core")


def to_numpy(result: Any) -> np.ndarray:
    return np.asarray(result)


class _Network(nn.Module):  # type: ignore[misc]
    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.order: list[str] = []
        for i, (inputs, outputs) in enumerate(pairwise(sizes)):
            setattr(self, f"dense{i}", nn.DenseLayer(inputs, outputs))
            self.order.append(f"dense{i}")
            if i + 2 < len(sizes):
                setattr(self, f"relu{i}", nn.ReLULayer())
                self.order.append(f"relu{i}")

    def forward(self, x: Any) -> Any:
        for name in self.order:
            x = getattr(self, name)(x)
        return x


def fit(case: str, x: np.ndarray, y: np.ndarray) -> Fit:
    made = CASES[case]
    model, optimizer = _Network(made.sizes), nn.Adam(learning_rate=LR)
    loss, targets = nn.SoftmaxCrossEntropyLoss(), np.eye(made.sizes[-1], dtype=np.float32)[y]
    compiled = nn.JITCompiler(model, optimizer, loss)
    loader = nn.DataLoader(x, targets, batch_size=made.batch)
    held = model, optimizer, loss, targets, loader  # the library keeps no references to them

    def run(epochs: int) -> Any:
        compiled.fit(loader, epochs=epochs, tol=0.0, n_iter_no_change=10**9, verbose=False)
        return held

    return Fit(run, lambda: np.asarray(model.predict(x)).argmax(1), y, made.epochs)
