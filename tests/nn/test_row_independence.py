"""A sample has the same bits alone and in any batch: layers without statistics of the batch, and totals."""

from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.layers import LAYERS, Layer, classes, layer

SIZES = (2, 3, 4, 5, 8, 15, 16, 17, 33)
ROWS = max(SIZES)
SECOND = {  # the batch is axis 1, unless batch_first
    "GRU",
    "LSTM",
    "MultiheadAttention",
    "RNN",
    "TransformerDecoderLayer",
    "TransformerEncoderLayer",
}
RANDOM = {"AlphaDropout", "Dropout", "Dropout2d", "RReLU"}

# Shapes that meet what LAYERS does not: whole vectors and blocks of sums; the algorithms of conv2d that
# depend on sizes; long rows.
MORE = [
    layer("Linear", 20, 32, of=(2, 20)),
    layer("Linear", 784, 10, of=(2, 784)),
    layer("Linear", 33, 70, of=(2, 33)),
    layer("Linear", 300, 3, of=(2, 300)),
    layer("Linear", 64, 64, bias=False, of=(2, 2, 64)),
    layer("Conv2d", 64, 32, 3, padding=1, of=(2, 64, 4, 4)),
    layer("Conv2d", 24, 10, 3, padding=1, of=(2, 24, 7, 6)),
    layer("Conv2d", 6, 4, 5, padding=1, of=(2, 6, 14, 6)),
    layer("Conv2d", 24, 4, 3, padding=1, of=(2, 24, 4, 8)),
    layer("Conv2d", 8, 8, 3, groups=8, of=(2, 8, 9, 9)),
    layer("Conv2d", 64, 16, 1, of=(2, 64, 1, 1)),
    layer("Conv2d", 64, 3, 1, of=(2, 64, 2, 1)),
    layer("ConvTranspose2d", 32, 6, 3, of=(2, 32, 4, 5)),
    layer("LSTM", 20, 33, batch_first=True, of=(2, 3, 20)),
    layer("GRUCell", 70, 20, of=(2, 70)),
    layer("MultiheadAttention", 32, 2, batch_first=True, of=(2, 9, 32), also=((2, 9, 32), (2, 9, 32))),
    layer("LayerNorm", 133, of=(2, 133)),
    layer("Softmax", dim=1, of=(2, 300)),
    layer("Embedding", 70, 33, of=classes(70, 2, 5)),
]


def has_a_batch(case: Layer) -> bool:
    """Whether samples are independent, at least where no statistics are those of the batch."""
    text = str(case)
    losses = case.name.endswith("Loss")
    joined = text.startswith(("Flatten(0", "Softmax(dim=0")) or "padding_idx=2, mode" in text
    return not (losses or joined or case.name in RANDOM)


def batch_axis(case: Layer) -> int:
    return int(case.name in SECOND and not case.kwargs.get("batch_first"))


def rows_of(case: Layer, dtype: Any, rng: np.random.Generator) -> "list[np.ndarray[Any, Any]] | None":
    """Inputs with ROWS samples along axis 0; None where the inputs of the case have no common batch."""
    inputs = [np.moveaxis(x, batch_axis(case), 0) for x in case.draw(rng) if x.ndim > 1]
    if len(inputs) != len(case.inputs) or len({len(x) for x in inputs}) > 1:
        return None
    picked = [x[rng.integers(0, len(x), ROWS)] for x in inputs]
    return [rng.uniform(-2, 2, x.shape).astype(dtype) if x.dtype.kind == "f" else x for x in picked]


def results(case: Layer, module: Any, samples: "list[np.ndarray[Any, Any]]") -> "np.ndarray[Any, Any]":
    axis = batch_axis(case)
    y = case(module, *(rv.tensor(np.ascontiguousarray(np.moveaxis(x, 0, axis))) for x in samples))
    return np.ascontiguousarray(np.moveaxis(y.detach().numpy(), axis, 0))


def check(case: Layer, module: Any, samples: "list[np.ndarray[Any, Any]]") -> None:
    alone = np.concatenate([results(case, module, [x[i : i + 1] for x in samples]) for i in range(ROWS)])
    for n in SIZES:
        batch = results(case, module, [x[:n] for x in samples])
        np.testing.assert_array_equal(batch, alone[:n], f"{case}, {n} samples")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sample_does_not_depend_on_its_batch(dtype, isa, rng):
    for count, case in enumerate(filter(has_a_batch, LAYERS + MORE)):
        samples = rows_of(case, dtype, rng)
        if samples is None or (case.name == "MultiheadAttention" and samples[0].ndim == 2):
            continue
        rv.set_num_threads(1 + count % 2)
        module = getattr(nn, case.name)(*case.args, **case.kwargs).to(dtype=np.dtype(dtype))
        if "BatchNorm" in case.name:  # by running statistics
            if not case.kwargs.get("track_running_stats", True):
                continue
            module.eval()
        for part in module.modules():  # the forward of training, without what is random
            for name in ("p", "dropout"):
                if isinstance(getattr(part, name, None), float):
                    setattr(part, name, 0.0)
        check(case, module, samples)


@pytest.mark.parametrize("name", ["Linear", "Conv2d", "LSTM"])
def test_nor_does_that_of_a_compiled_model(name, isa, rng):
    for case in [case for case in MORE if case.name == name]:
        module = getattr(nn, name)(*case.args, **case.kwargs).eval()
        fast, samples = rv.compile(module), rows_of(case, "float32", rng)
        with rv.no_grad():
            alone = results(case, module, [x[:1] for x in samples])
            for n in (1, 2, 5, 16, 33):
                for _ in range(3):
                    y = results(case, fast, [x[:n] for x in samples])
                    np.testing.assert_array_equal(y[:1], alone, f"{case}, {n} samples")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nor_does_a_total(dtype, isa, rng):
    for shape in ((7,), (32,), (33,), (5, 40), (40, 5), (300,), (40_000,)):
        x = rng.uniform(-1, 1, (ROWS, *shape)).astype(dtype)
        for op in (rv.sum, rv.mean, rv.var, rv.logsumexp):
            for axis in (1, -1):
                alone = np.concatenate([op(rv.tensor(x[i : i + 1]), axis).numpy() for i in range(ROWS)])
                for n in (2, 15, 16, 33):
                    y = op(rv.tensor(x[:n]), axis).numpy()
                    np.testing.assert_array_equal(y, alone[:n], f"{op.__name__} of {n} of {shape}")
