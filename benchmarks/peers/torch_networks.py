"""PyTorch's side of the whole networks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from benchmarks.training import fits, models
from benchmarks.training.networks import NETWORKS, Network


def _laid_out(channels_last: bool) -> Callable[[np.ndarray], torch.Tensor]:
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def to_tensor(a: np.ndarray) -> torch.Tensor:
        t = torch.from_numpy(a)
        return t.contiguous(memory_format=layout) if t.ndim == 4 else t

    return to_tensor


def train_step(
    network: str,
    fused: bool = False,
    channels_last: bool = False,
    compiled: bool = False,
    **arrays: np.ndarray,
) -> Callable[[], Any]:
    def prepared(model: torch.nn.Module) -> Any:
        if channels_last:  # load_state_dict copies values and keeps the layout
            model.to(memory_format=torch.channels_last)
        return torch.compile(model, dynamic=False) if compiled else model

    def made(form: Network) -> models.Steps:
        if compiled:
            torch._dynamo.reset()  # forget the previous case
        to_tensor = _laid_out(channels_last)
        return models.steps(torch.nn, torch.optim, to_tensor, form, arrays, prepared=prepared, fused=fused)

    return models.Timed(NETWORKS[network], made)


def inference(network: str, channels_last: bool = False, **arrays: np.ndarray) -> Callable[[], Any]:
    to_tensor = _laid_out(channels_last)
    model = models.build(torch.nn, NETWORKS[network], arrays, to_tensor).eval()
    if channels_last:
        model.to(memory_format=torch.channels_last)

    def predict(x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return model(x)

    return models.Predictions(predict, [to_tensor(x) for x in arrays["x"]])


def fit(case: str, x: np.ndarray, y: np.ndarray) -> fits.Fit:
    """The plain loop of PyTorch's tutorials."""
    made = fits.CASES[case]
    torch.manual_seed(0)
    layers: list[Any] = []
    for inputs, outputs in pairwise(made.sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer, loss = torch.optim.Adam(model.parameters(), lr=fits.LR), torch.nn.CrossEntropyLoss()
    xs, ys = torch.from_numpy(x), torch.from_numpy(y)

    def run(epochs: int) -> None:
        for _ in range(epochs):
            for chosen in torch.randperm(len(xs)).split(made.batch):
                optimizer.zero_grad()
                loss(model(xs[chosen]), ys[chosen]).backward()
                optimizer.step()

    return fits.Fit(run, lambda: model(xs).argmax(1).numpy(), y, made.epochs)
