"""The training steps by hand are what the timed ones are checked against: their gradients by differences."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.training import by_hand, networks

# rounding of the loss, eps * |loss| / step, and the third derivative's share, step**2; with larger steps one
# of the 100,000 ReLUs and maxima of an image network comes to its kink
STEP = 1e-7
TOLERANCE = 1e-6


class Gradients(by_hand.HandSteps):
    """Keeps the gradients and leaves the parameters as they are."""

    def _update(self, gradients: list[np.ndarray]) -> None:
        self.gradients = gradients


def first_step(network: networks.Network, arrays: dict[str, np.ndarray]) -> tuple[float, list[np.ndarray]]:
    steps = Gradients(network, arrays, np.float64)
    return steps(), steps.gradients


def small(name: str) -> tuple[networks.Network, dict[str, np.ndarray]]:
    network = networks.NETWORKS[name].without_dropout()
    arrays = {key: value.astype(np.float64) for key, value in networks.case(network, 4).items()}
    arrays["x"], arrays["y"] = arrays["x"][:1], arrays["y"][:1]
    if network.loss == "classes":
        arrays["y"] = arrays["y"].astype(np.int64)
    return network, arrays


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_gradients_by_differences(name: str, rng: np.random.Generator) -> None:
    network, arrays = small(name)
    _, gradients = first_step(network, arrays)
    for i, gradient in enumerate(gradients):
        parameter = arrays[f"p{i}"]
        assert gradient.shape == parameter.shape
        index = tuple(int(rng.integers(size)) for size in parameter.shape)
        losses = []
        for sign in (1, -1):
            parameter[index] += sign * STEP
            losses.append(first_step(network, arrays)[0])
            parameter[index] -= sign * STEP
        assert gradient[index] == pytest.approx((losses[0] - losses[1]) / (2 * STEP), abs=TOLERANCE)


@pytest.mark.parametrize(("name", "count"), [("tabular", 705), ("mlp", 109386), ("cnn", 225034)])
def test_parameter_counts(name: str, count: int) -> None:
    network = networks.NETWORKS[name]
    assert sum(p.size for p in networks.parameters(networks.case(network, 4096))) == count


def test_losses_fall() -> None:
    network = networks.NETWORKS["mlp"]
    steps = by_hand.HandSteps(network, networks.case(network, 128), np.float32)
    losses = [steps() for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
