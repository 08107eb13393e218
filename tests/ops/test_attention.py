"""scaled_dot_product_attention: long sequences in parts have the bits of a whole and are close to the
reference in float64; queries that see nothing; the roundings of halves.
"""

import importlib
import math

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from reference import attention as reference
from support.tolerance import tolerance

module = importlib.import_module("ranvier.ops.neural.attention")


@pytest.mark.parametrize("mask", [None, (5, 5), (4, 1, 1, 5), (1, 3, 5, 5)])
@pytest.mark.parametrize("kind", ["b", "f"])
@pytest.mark.parametrize("first", [0, 1])
def test_the_same_bits_in_parts(mask, kind, first, monkeypatch):
    """Weights that were not kept are computed again, in parts along the first axis of more than one; the
    settings of the module make parts of one, two and all."""
    rng = np.random.default_rng(0)
    q, k, v, dy = rng.standard_normal((4, 4, 3, 5, 8), np.float32)[:, : None if first == 0 else 1]
    if mask is not None:
        mask = mask if first == 0 else (1, *mask[1:])
        mask = rng.standard_normal(mask[-2:] if len(mask) == 2 else mask, np.float32)
        mask = mask > -0.5 if kind == "b" else mask
    runs = []
    each = 3 if first else 12
    monkeypatch.setattr(module, "_MOST_KEPT", 0)
    for size, parts in ((1, each), (600 - 400 * first, 2), (1 << 20, 1)):  # bytes: one, two, all at once
        monkeypatch.setattr(module, "_PART", size)
        leaves = [rv.tensor(x, requires_grad=True) for x in (q, k, v)]
        y = ops.scaled_dot_product_attention(*leaves, mask)
        assert not y.grad_fn.kept
        assert len(y.grad_fn._parts()) == parts
        y.backward(dy)
        with rv.no_grad():
            np.testing.assert_array_equal(ops.scaled_dot_product_attention(*leaves, mask), y.detach())
        runs.append([y.numpy(force=True), *(x.grad.numpy() for x in leaves)])
    for run in runs[1:]:
        for got, want in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("kept", [0, 1 << 20])
@pytest.mark.parametrize("lead", [(), (2, 3), (1, 2)])
@pytest.mark.parametrize(("length", "keys"), [(21, 21), (21, 9), (9, 21), (16, 17)])
@pytest.mark.parametrize("mask", ["", "causal", "b", "f", "row"])
def test_queries_in_parts(mask, length, keys, lead, kept, monkeypatch, rng):
    """Long sequences: the weights of a part are kept, or computed again for the gradients."""
    monkeypatch.setattr(module, "_PART", 4 * keys * 8)
    monkeypatch.setattr(module, "_LEAST_ROWS", 4)
    monkeypatch.setattr(module, "_MOST_KEPT", kept)
    arrays = [rng.standard_normal((*lead, n, 5)) for n in (length, keys, keys)]
    shown = {"b": rng.random((length, keys)) < 0.5, "f": rng.standard_normal((length, keys))}.get(mask)
    if mask == "row":
        shown = rng.standard_normal((*lead[:1], *(1 for _ in lead[1:]), 1, keys))
    leaves = [rv.tensor(x, requires_grad=True) for x in arrays]
    y = ops.scaled_dot_product_attention(*leaves, shown, is_causal=mask == "causal")
    assert len(y.grad_fn._parts()) > 1
    assert y.grad_fn.kept == (kept > 0)
    seen = reference.causal_mask(length, keys) if mask == "causal" else shown
    limit = tolerance("float64", length + keys + 5, 4)
    np.testing.assert_allclose(y.detach(), reference.attention(*arrays, seen), rtol=0, atol=limit)
    dy = rng.standard_normal(y.shape)
    wanted = reference.attention_backward(dy, *arrays, seen)
    second = rv.autograd.grad(y, leaves, rv.tensor(dy), create_graph=True)  # from all weights
    y.backward(rv.tensor(dy))
    for leaf, again, want in zip(leaves, second, wanted, strict=False):
        np.testing.assert_allclose(leaf.grad.numpy(), want, rtol=0, atol=limit)
        np.testing.assert_allclose(again.detach(), want, rtol=0, atol=limit)


@pytest.mark.parametrize("nothing", [False, -math.inf])
def test_a_query_that_sees_nothing_takes_nothing(nothing):
    x = rv.randn(3, 4, requires_grad=True)
    mask = np.full((3, 3), True if nothing is False else 0, bool if nothing is False else np.float32)
    mask[1] = nothing
    y = ops.scaled_dot_product_attention(x, x, x, mask)
    y.sum().backward()
    assert y.numpy(force=True)[1].tolist() == [0] * 4
    assert np.isfinite(x.grad.numpy()).all()
    assert (y.numpy(force=True)[0] != 0).all()


def test_nan_is_not_hidden():
    x = rv.tensor([[1.0], [math.nan]])
    assert np.isnan(ops.scaled_dot_product_attention(x, x, x, np.ones((2, 2), bool)).numpy()).all()


@pytest.mark.parametrize(("dtype", "bits"), [(rv.float16, 10), (rv.bfloat16, 7)])
@pytest.mark.parametrize("shape", [(3, 2, 5, 4), (2, 20, 37, 8), (2, 1, 32, 4)])
def test_weights_of_halves_are_rounded_as_pytorchs_are(dtype, bits, shape):
    """exp(score - top) is rounded before its product with the values; of 16 keys at once it is the cubic of
    PyTorch's kernel."""
    heads, rows, keys, width = shape
    q, k, v = (rv.randn(heads, n, width).to(dtype) for n in (rows, keys, keys))
    scores = (q.float() @ k.float().mT).numpy() * np.float32(width**-0.5)
    x = scores - scores.max(-1, keepdims=True)
    whole = keys // 16 * 16
    t = x[..., :whole] * np.float32(np.log2(np.e))
    part = (t - np.floor(t)).astype(np.float64)
    cubic = np.polyval([-0.079204240219773236, -0.22433836478672356, 0.30354260500649682, 1.0703494e-4], part)
    x = np.concatenate([np.exp2(np.floor(t)) * (1 + t - cubic - np.floor(t)), np.exp(x[..., whole:])], -1)
    weights = rv.tensor(x.astype(np.float32)).to(dtype).float().numpy()
    wanted = weights @ v.float().numpy() / x.sum(-1, keepdims=True)
    found = ops.scaled_dot_product_attention(q, k, v).float().numpy()
    wrong = np.abs(found - wanted) > 2.0 ** -(bits + 1) * np.abs(wanted) + 1e-6
    assert wrong.mean() < 0.02  # those whose weight lies between two halves
