"""PyTorch's updates of parameters, averages of them and penalties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class OptimizerStep:
    def __init__(self, kind: str, gradients: list[np.ndarray]) -> None:
        self.parameters = [torch.nn.Parameter(torch.ones(g.shape)) for g in gradients]
        for p, g in zip(self.parameters, gradients, strict=True):
            p.grad = torch.from_numpy(g)
        fused = {"fused": True} if kind in ("SGD", "Adam", "Adagrad") else {}  # the others have none
        self.optimizer = getattr(torch.optim, kind)(self.parameters, lr=0.01, **fused)

    def answer(self) -> torch.Tensor:
        self.optimizer.step()
        return torch.cat([p.detach().reshape(-1) for p in self.parameters])

    def __call__(self) -> None:
        self.optimizer.step()


def _optimizer(kind: str, **gradients: np.ndarray) -> Callable[[], Any]:
    return OptimizerStep(kind, list(gradients.values()))


OPTIMIZERS = {name: _optimizer for name, kind in vars(torch.optim).items() if isinstance(kind, type)}


class Ema:
    def __init__(self, values: list[np.ndarray]) -> None:
        self.values = [torch.from_numpy(v) for v in values]
        self.averages = [torch.zeros(v.shape) for v in values]
        self.update = torch.optim.swa_utils.get_ema_multi_avg_fn(0.75)

    def answer(self) -> torch.Tensor:
        self()
        return torch.cat([a.reshape(-1) for a in self.averages])

    def __call__(self) -> None:
        self.update(self.averages, self.values, 1)


def ema(**values: np.ndarray) -> Callable[[], Any]:
    return Ema(list(values.values()))


class WeightPenalty:
    """The penalty as a term of the loss, which is how it is written with torch."""

    def __init__(self, l1: float, l2: float, **parameters: np.ndarray) -> None:
        self.l1, self.l2 = l1, l2
        self.parameters = [torch.nn.Parameter(torch.from_numpy(p.copy())) for p in parameters.values()]

    def answer(self) -> torch.Tensor:
        self()
        return torch.cat([p.grad.reshape(-1) for p in self.parameters if p.grad is not None])

    def __call__(self) -> None:
        terms = [self.l1 * p.abs().sum() + self.l2 * p.square().sum() for p in self.parameters]
        torch.stack(terms).sum().backward()


weight_penalty = WeightPenalty
