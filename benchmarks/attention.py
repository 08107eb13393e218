"""Attention, and a training step of an encoder layer: the same code for ranvier and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Call = Callable[[], Any]


def attention(
    library: Any, gradient: bool, causal: bool, q: np.ndarray, k: np.ndarray, v: np.ndarray, dy: np.ndarray
) -> Call:
    """The result, or the gradients of q, k and v for dy."""
    leaves = [library.tensor(array, requires_grad=gradient) for array in (q, k, v)]
    upstream = library.tensor(dy)
    compute = library.nn.functional.scaled_dot_product_attention

    def forward() -> Any:
        with library.no_grad():
            return compute(*leaves, is_causal=causal)

    def forward_and_backward() -> Any:
        for leaf in leaves:
            leaf.grad = None
        compute(*leaves, is_causal=causal).backward(upstream)
        return [leaf.grad for leaf in leaves]

    return forward_and_backward if gradient else forward


def encoder_step(
    library: Any, heads: int, x: np.ndarray, wrap: Callable[[Call], Call] | None = None, **values: np.ndarray
) -> Call:
    """Forward and backward of a layer with these parameters p0, p1 ...; the gradient of the first, whose
    sums pass all others. wrap: what makes a captured step of an eager one."""
    parameters = [values[f"p{i}"] for i in range(len(values))]
    width, inside = x.shape[2], parameters[4].shape[0]
    layer = library.nn.TransformerEncoderLayer(width, heads, inside, 0.0, "gelu", batch_first=True)
    state = dict(zip(layer.state_dict(), map(library.tensor, parameters), strict=True))
    layer = layer.to(state["linear1.weight"].dtype)
    layer.load_state_dict(state)
    first, words = layer.self_attn.in_proj_weight, library.tensor(x)

    def step() -> Any:
        layer.zero_grad()
        loss = layer(words).pow(3).mean()
        loss.backward()
        return loss

    run = step if wrap is None else wrap(step)

    def call() -> Any:
        run()
        return first.grad

    return call


def encoder_parameters(width: int, inside: int) -> dict[str, np.ndarray]:
    """Values for the parameters, by number: norms about 1 and 0, weights as He's for their inputs."""
    rng = np.random.default_rng(1)
    shapes = [(3 * width, width), (3 * width,), (width, width), (width,)]
    shapes += [(inside, width), (inside,), (width, inside), (width,)]
    weights = [rng.standard_normal(s) / np.sqrt(s[-1] if len(s) == 2 else 100) for s in shapes]
    norms = [centre + 0.1 * rng.standard_normal(width) for centre in (1, 0, 1, 0)]
    return {f"p{i}": p.astype(np.float32) for i, p in enumerate([*weights, *norms])}
