"""The text encoder that the libraries compute: its sizes, parameters and inputs."""

from __future__ import annotations

import numpy as np

from benchmarks.quantized.rounds import Array
from benchmarks.training.decoder import numbers

LAYERS = 6
WIDTH = 384
HEADS = 12
INNER = 1536
EPS = 1e-12  # of the layer norms


def shapes(layer: int) -> dict[str, tuple[int, ...]]:
    """Of a layer's parameters, by their names in nn.TransformerEncoder; matrices are (outputs, inputs)."""
    matrices = {
        "self_attn.in_proj_weight": (3 * WIDTH, WIDTH),
        "self_attn.out_proj.weight": (WIDTH, WIDTH),
        "linear1.weight": (INNER, WIDTH),
        "linear2.weight": (WIDTH, INNER),
    }
    vectors = {name.replace("weight", "bias"): shape[:1] for name, shape in matrices.items()}
    norms = {f"norm{i}.{part}": (WIDTH,) for i in (1, 2) for part in ("weight", "bias")}
    return {f"layers.{layer}.{name}": shape for name, shape in (matrices | vectors | norms).items()}


def parameters(layer: int) -> dict[str, Array]:
    return {name: numbers(name, shape) for name, shape in shapes(layer).items()}


def given(case: str) -> Array:
    batch, length = map(int, case.split()[1].split("x"))
    return np.random.default_rng(length).standard_normal((batch, length, WIDTH), np.float32)
