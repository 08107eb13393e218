"""Layers of 8 and 4 bits as C: the bits of the library."""

import numpy as np
import pytest
import ranvier as rv
import ranvier._core as _core
from ranvier import nn
from support.c_files import Compiled, needs_compiler
from support.refused import refused

pytestmark = needs_compiler
FORMS = [("int8", None), ("int8", 32), ("int4", None)]
OF_FORM = pytest.mark.parametrize(("dtype", "group"), FORMS)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@OF_FORM
@pytest.mark.parametrize(("k", "n", "bias"), [(64, 21, True), (33, 5, False), (7, 3, True), (200, 4, False)])
def test_linear(dtype, group, k, n, bias, tmp_path):
    if _core.isa().endswith("v2"):
        pytest.skip("this level has no FMA, which C takes")
    layer, x = rv.quantize(nn.Linear(k, n, bias), dtype, group=group), numbers(7, k)
    x[1, 0], x[2, 1] = np.nan, np.inf  # rows in float32
    x[3], x[4], x[5] = 0, 1e-40, 1e30 * x[5]
    compiled = Compiled(tmp_path, layer, np.zeros_like(x))
    np.testing.assert_array_equal(compiled.predict(x, shape=(7, n)), layer(rv.tensor(x)).numpy())
    steps = n * (1 if group is None and dtype == "int8" else -(-k // 32))
    codes = n * (-(-k // 2) if dtype == "int4" else k)
    assert compiled.report.weights == codes + 4 * (steps + n * bias)
    assert compiled.report.multiplications == (7 * k * n,)


@OF_FORM
def test_embedding(dtype, group, tmp_path):
    layer, ids = rv.quantize(nn.Embedding(9, 41), dtype, group=group), np.array([[1, 8], [0, 1]])
    y = Compiled(tmp_path, layer, ids).predict(ids, shape=(2, 2, 41))
    np.testing.assert_array_equal(y, layer(rv.tensor(ids)).numpy())


@OF_FORM
def test_attention_and_weights_that_are_shared(dtype, group, tmp_path):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(20, 32), nn.Linear(32, 20, bias=False)
            self.head.weight = self.table.weight
            self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

        def forward(self, ids):
            x = self.table(ids)
            return self.head(self.attention(x, x.flip(1), x)[0])

    model, ids = rv.quantize(Model().eval(), dtype, group=group), np.array([[1, 2, 3], [19, 5, 0]])
    compiled = Compiled(tmp_path, model, ids)
    y, wanted = compiled.predict(ids, shape=(2, 3, 20)), model(rv.tensor(ids)).detach().numpy()
    # an activation that rounds to another integer moves what follows by a part of a step
    assert np.linalg.norm(y - wanted) < 0.02 * np.linalg.norm(wanted)
    rows = 20 + 4 * 32  # the table, once, and the projections
    most = rows * (32 if dtype == "int8" else 16) + 4 * (rows + 4 * 32)
    assert compiled.report.weights <= most


def test_refused(tmp_path):
    layer = nn.quantized.Linear(2**15 + 1, 1)
    example = rv.zeros(1, 2**15 + 1)
    refused(ValueError, "sums of 32769 products", rv.export.c, layer, tmp_path / "net.c", example)
