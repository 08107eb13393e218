"""Compiled steps at the limits of each dtype: eager's bits and errors, also where float64 would round.

Each op is called with the values of EDGES in turn, compiled and as it is; results and errors have to be
equal.
"""

import numpy as np
import pytest
import ranvier as rv
from compile.beside import outcome, put
from ranvier.nn import functional as F

SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, -1.5, 0.1, 2.5, 7.0]
EDGES = {
    "int64": [2**53 + 1, -(2**53) - 1, 2**62, -(2**62), 2**63 - 1, -(2**63), 0, 1, -1, 7, 2**53, 3],
    "int32": [2**31 - 1, -(2**31), 2**24 + 1, 46341, 0, 1, -1, 7, -7, 3, 5, -2],
    "uint8": [0, 1, 255, 128, 127, 254, 7, 3, 2, 200, 100, 50],
    "bool": [0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 1],
    "float16": [*SPECIAL, 65504, 6e-8, 2049],
    "float32": [*SPECIAL, 3e38, 1e-45, 2**24 + 2],
    "float64": [*SPECIAL, 1e308, 5e-324, 2**53 + 2],
}
BIG = 2**53 + 1


def sampled(x, y):
    """Pixels of an image at the points of grids, some of them outside it."""
    grids = [F.affine_grid(x[None, :2, :3] / 9, (1, 1, 3, 2)), (y[:2].reshape(1, 2, 2, 2) / 3 - 1)]
    modes = [(m, p) for m in ("bilinear", "nearest", "bicubic") for p in ("zeros", "border", "reflection")]
    parts = [F.grid_sample(x[None, None], g, m, p, c) for g in grids for m, p in modes for c in (False, True)]
    return rv.cat([part.flatten() for part in parts])


# The op of x, y, a mask and indices from 0 to 2.
OPS = {
    "+ - *": lambda x, y, m, i: (x * 3 + y, 5 - x, x * y - BIG),
    "/ // %": lambda x, y, m, i: (x / y, x // 3, 3 * x % 7, rv.fmod(x, -3)),
    "// tensor": lambda x, y, m, i: (x // y, x % y),
    "power": lambda x, y, m, i: (x**2, x**3, 2 ** (x % 5)),
    "bits": lambda x, y, m, i: (x & y, x | 1, x ^ y, ~x),
    "shifts": lambda x, y, m, i: (x << 1, x >> 2, x << (y & 3)),
    "logic": lambda x, y, m, i: (m & (x > 1), m | (x == y), m ^ (y != 0), ~m, rv.logical_xor(x, y)),
    "compared": lambda x, y, m, i: (x == y, x < y, x >= y, x + 1 != x, x > i),
    "with numbers": lambda x, y, m, i: (x == BIG, x < 2**53, x >= 2**53 - 1, x > 2.5, x != -1, x >= 3),
    "where": lambda x, y, m, i: (rv.where(m, x, y), rv.where(m, x, 2), rv.where(m, 1, y), rv.where(m, i, x)),
    "masked_fill": lambda x, y, m, i: (x.masked_fill(m, 1), x.clone().masked_fill_(m, 2), F.relu(x)),
    "filled by a Tensor": lambda x, y, m, i: x.masked_fill(m, y.sum()),
    "sums": lambda x, y, m, i: (x.sum(), x.sum(1), (x == y).sum(0, keepdim=True), x.float().mean()),
    "truth": lambda x, y, m, i: (x.all(), x.any(1), (x > y).all(0), x.all(()), x[:0].any(0), x.bool()),
    "products": lambda x, y, m, i: (x.cumsum(1), x.prod(), x.cumprod(0), x.cumsum(0, dtype=rv.int32)),
    "extrema": lambda x, y, m, i: (x.max(), x.min(0), x.argmax(1), rv.maximum(x, y), x.clamp(1, 3)),
    "more extrema": lambda x, y, m, i: (x.amin(0), x.clamp(max=100), rv.minimum(x, y), x.clamp(min=y)),
    "order": lambda x, y, m, i: (x.sort(), x.topk(2), x.argsort(0, descending=True)),
    "places in order": lambda x, y, m, i: (x.median(1), x.kthvalue(2)),
    "rounded": lambda x, y, m, i: (x.floor(), x.trunc()),
    "rounded to even": lambda x, y, m, i: x.round(),
    "smooth": lambda x, y, m, i: (rv.erf(x), rv.atan2(x, y)),
    "put": lambda x, y, m, i: (put(x, m, 2), put(x, (slice(None), i[0]), y[:, :1])),
    "picked": lambda x, y, m, i: (x[:, i[0]], x.index_select(0, i[0]), x[[i[0], i[1]]]),
    "sampled": lambda x, y, m, i: sampled(x, y),
    "parts": lambda x, y, m, i: (abs(x), -x, x.sign(), x.trunc(), x.square()),
    "moved": lambda x, y, m, i: (x.clone(), x.mT.contiguous(), x.roll(1), x.tril(), rv.cat([x, y]), x[i[0]]),
    "gathered": lambda x, y, m, i: (x.gather(0, i), x.scatter(0, i, y), x.scatter_add(0, i, y), x.diff()),
    "counted": lambda x, y, m, i: (F.one_hot(i, 3), rv.isin(x, y), F.one_hot(i, 3) * BIG),
    "copied to": lambda x, y, m, i: [x.clone().copy_(y.to(d)) for d in EDGES],
    **{f"to {d}": lambda x, y, m, i, d=d: (x.to(d), x.to(d) + 1, x.to(d).float()) for d in EDGES},
}


def drawn(dtype, call):
    """x, y, a mask and indices: small numbers at the first call."""
    rng = np.random.default_rng(call)
    values = np.array(EDGES[dtype] if call else range(1, 13)).astype(dtype)
    x, y = (rng.permutation(values).reshape(3, 4) for _ in range(2))
    return [rv.tensor(a) for a in (x, y, rng.random((3, 4)) < 0.5, rng.integers(0, 3, (3, 4)))]


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", EDGES)
@pytest.mark.filterwarnings("ignore")
def test_bits(name, dtype):
    def step(*inputs):
        made = OPS[name](*inputs)
        made = [made] if isinstance(made, rv.Tensor) else made
        return [t.clone() for part in made for t in ([part] if isinstance(part, rv.Tensor) else part)]

    compiled = rv.compile(step, verify=False)
    for call in (0, 0, 1, 2, 3, 0):
        expected = outcome(step, *drawn(dtype, call))
        assert outcome(compiled, *drawn(dtype, call)) == expected
    assert expected[0] is not list or len(compiled.programs) == 1
