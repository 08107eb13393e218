"""The networks as models, and their steps, for libraries that have PyTorch's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from benchmarks.training.networks import CHECKED_STEPS, LR, MOMENTUM, Network, conv_sizes, parameters

Convert = Callable[[np.ndarray], Any]


def build(nn: Any, network: Network, arrays: dict[str, np.ndarray], to_tensor: Convert) -> Any:
    """The network as a model with the case's parameters."""

    def conv(*sizes: int) -> Any:
        inputs, outputs, size, padding = conv_sizes(("conv", *sizes))
        return nn.Conv2d(inputs, outputs, size, padding=padding)

    makers: dict[Any, Callable[..., Any]] = {
        "linear": nn.Linear,
        "conv": conv,
        "norm": nn.BatchNorm2d,
        "dropout": nn.Dropout,
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
        "pool": lambda: nn.MaxPool2d(2),
        "flatten": nn.Flatten,
    }
    model = nn.Sequential(*(makers[kind](*sizes) for kind, *sizes in network.layers))
    names = [name for name, _ in model.named_parameters()]
    values = {name: to_tensor(p) for name, p in zip(names, parameters(arrays), strict=True)}
    model.load_state_dict({**model.state_dict(), **values})
    return model


class Steps:
    """Training steps of a model, one a call, on one batch after the other."""

    def __init__(
        self,
        model: Any,
        loss: Any,
        optimizer: Any,
        batches: Sequence[tuple[Any, Any]],
        compiled: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda step: step,
    ) -> None:
        self.batches = cycle(batches)

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            optimizer.step()
            return value

        self.step = compiled(step)

    def __call__(self) -> Any:
        return self.step(*next(self.batches))

    def losses(self) -> np.ndarray:
        """The losses of the first steps."""
        return np.array([self().item() for _ in range(CHECKED_STEPS)])

    def capture(self) -> None:
        """Calls a compiled step until it is captured: the fifth of one code has to earn that."""
        for _ in range(2000):
            if getattr(self.step, "programs", True):
                return
            self()


def steps(
    nn: Any,
    optim: Any,
    to_tensor: Convert,
    network: Network,
    arrays: dict[str, np.ndarray],
    compiled: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda step: step,
    prepared: Callable[[Any], Any] = lambda model: model,
    to_input: Convert | None = None,
    **settings: Any,
) -> Steps:
    """Steps from the case's parameters; ``prepared(model)`` is what is trained, ``compiled(step)`` called."""
    model = prepared(build(nn, network, arrays, to_tensor))
    losses = {"classes": nn.CrossEntropyLoss, "binary": nn.BCEWithLogitsLoss, "squares": nn.MSELoss}
    momentum = {"momentum": MOMENTUM} if network.optimizer == "SGD" else {}
    optimizer = getattr(optim, network.optimizer)(model.parameters(), lr=LR, **momentum, **settings)
    convert = to_input or to_tensor
    batches = [(convert(x), convert(y)) for x, y in zip(arrays["x"], arrays["y"], strict=True)]
    return Steps(model, losses[network.loss](), optimizer, batches, compiled)


class Timed:
    """A way of running a network that a row times: ``made(network)``; its answer is compared on the network
    without dropout."""

    def __init__(self, network: Network, made: Callable[[Network], Any]) -> None:
        self._call = made(network)
        plain = network.without_dropout()
        self._checked = self._call if plain == network else made(plain)

    def __call__(self) -> Any:
        return self._call()

    def answer(self) -> np.ndarray:
        losses = np.asarray(self._checked.losses())
        if isinstance(self._call, Steps):
            self._call.capture()
        return losses


class Predictions:
    """Predictions of a model, one batch a call."""

    def __init__(self, model: Callable[[Any], Any], batches: Sequence[Any]) -> None:
        self.model, self.first, self.batches = model, batches[0], cycle(batches)

    def __call__(self) -> Any:
        return self.model(next(self.batches))

    def answer(self) -> Any:
        """The predictions of the first batch."""
        return self.model(self.first)
