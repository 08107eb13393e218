"""Examples that hide what a function takes from its inputs: its file is right for others, or refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from support.onnx_networks import session

NUMBERS = {  # from x (3, 4), a mask (3, 4) and whole numbers (3,): a number of them
    "sum": lambda x, m, i: m.sum(), "any": lambda x, m, i: m.any(), "all": lambda x, m, i: m.bool().all(),
    "count": lambda x, m, i: (x > 0).sum(), "greatest": lambda x, m, i: i.max(),
    "product": lambda x, m, i: i.prod(),
    "place": lambda x, m, i: x.argmax(), "running": lambda x, m, i: i.cumsum(0)[-1],
    "first": lambda x, m, i: i[0],
    "searched": lambda x, m, i: rv.searchsorted(rv.tensor([1, 3]), i).sum(),
    "bits": lambda x, m, i: (m.bool() ^ (x > 0)).sum(),
    "chosen": lambda x, m, i: rv.where(i > 1, i, 0).amin(),
    "whole": lambda x, m, i: (i // 2 - i % 3).abs().sum(), "bytes": lambda x, m, i: i.to(rv.uint8).sum(),
    "from NumPy": lambda x, m, i: rv.bincount(rv.tensor([0, 1, 2]), i.float())[1],
    "from a list": lambda x, m, i: rv.tensor([i[0], i[1]]).sum(), "median": lambda x, m, i: i.median(),
    "read": lambda x, m, i: i.max().item(), "array": lambda x, m, i: np.asarray(m).sum(),
    "size": lambda x, m, i: len(m.nonzero()), "different": lambda x, m, i: len(i.unique()),
    "list": lambda x, m, i: sum(i.tolist()), "picked": lambda x, m, i: x[m.bool()].shape[0],
}  # fmt: skip
OF_NUMBERS = {
    "times": lambda x, n: x * n, "over": lambda x, n: x / (n + 1), "row": lambda x, n: x[n % 3],
    "column": lambda x, n: x[:, n % 4], "beyond": lambda x, n: rv.where(x > n, x, -x),
    "branch": lambda x, n: x if n > 1 else -x, "part": lambda x, n: x[: int(n)],
    "filled": lambda x, n: rv.full_like(x, n),
}  # fmt: skip
ROWS = {
    "ids": lambda x, m, i: i, "counts": lambda x, m, i: m.sum(1), "places": lambda x, m, i: x.argmax(1),
    "sorted": lambda x, m, i: i.sort().values, "bins": lambda x, m, i: rv.bucketize(i, rv.tensor([1, 2])),
    "limited": lambda x, m, i: i.clamp(1, 2), "less": lambda x, m, i: i - 1,
    "gathered": lambda x, m, i: i.gather(0, i % 3),
    "repeated": lambda x, m, i: rv.arange(3).repeat_interleave(i)[:3],
    "kinds": lambda x, m, i: i.mode().values + i,
}  # fmt: skip
OF_ROWS = {
    "times": lambda x, v: x * v[:, None], "rows": lambda x, v: x[v % 3], "columns": lambda x, v: x[:, v % 4],
    "points": lambda x, v: x[rv.arange(3), v % 4], "grid": lambda x, v: x[(v % 3)[:, None], (v % 4)[None]],
    "gather": lambda x, v: x.gather(1, (v % 4)[:, None]), "take": lambda x, v: x.take(v % 12),
    "classes": lambda x, v: F.one_hot(v % 5, 5), "lengths": lambda x, v: x * (rv.arange(4) < v[:, None]),
    "embedding": lambda x, v: F.embedding(v % 3, x), "select": lambda x, v: x.index_select(0, v % 3),
    "fill": lambda x, v: x.masked_fill((v > 1)[:, None], 0.0), "mean": lambda x, v: x.sum() / (v > 1).sum(),
    "mask": lambda x, v: x[v > 1], "added": lambda x, v: x.index_add(0, v % 3, x),
    "repeated": lambda x, v: x.repeat_interleave(v, 0), "all classes": lambda x, v: F.one_hot(v % 5),
}  # fmt: skip
REFUSED = {  # read in Python, of a size that the values decide, or without a counterpart
    "from NumPy", "from a list", "median", "read", "array", "size", "different", "list", "picked", "branch",
    "part", "filled", "mask", "repeated", "all classes", "kinds",
}  # fmt: skip


def drawn(like: str, seed: int) -> tuple:
    rng = np.random.default_rng(seed)
    if like == "ones":
        return np.full((3, 4), 0.5, np.float32), np.ones((3, 4), np.int64), np.full(3, 2)
    if like == "zeros":
        return np.zeros((3, 4), np.float32), np.zeros((3, 4), np.int64), np.zeros(3, np.int64)
    x = rng.normal(size=(3, 4)) * (rng.random((3, 4)) < 0.9)
    return x.astype(np.float32), rng.integers(0, 2, (3, 4)), rng.integers(0, 4, 3)


CASES = [
    *((a, b, NUMBERS[a], OF_NUMBERS[b]) for a, b in itertools.product(NUMBERS, OF_NUMBERS)),
    *((a, b, ROWS[a], OF_ROWS[b]) for a, b in itertools.product(ROWS, OF_ROWS)),
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_right_or_refused(number, tmp_path):
    source, use, first, second = CASES[number]
    example = drawn(("ones", "zeros")[number % 2 if use != "repeated" else 0], 0)

    def model(x, m, i):
        return second(x, first(x, m, i))

    def export():
        rv.onnx.export(model, example, tmp_path / "m.onnx", input_names=["x", "m", "i"])

    if {source, use} & REFUSED:
        with pytest.raises(ValueError, match=r"reads a value|counterpart"):
            export()
        return
    export()
    computed = session(tmp_path / "m.onnx")
    for seed in range(3):
        given = drawn("any", seed)
        (y,), wanted = computed(*given), model(*map(rv.tensor, given)).numpy()
        assert (y.dtype, y.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)
