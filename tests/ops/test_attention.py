"""scaled_dot_product_attention: masks, dropout and gradients against the reference."""

import importlib
import math

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from ranvier.ops.neural.attention import Attention
from reference import attention as reference
from support.op_case import OpCase
from support.tolerance import tolerance

module = importlib.import_module("ranvier.ops.neural.attention")
KEY = np.array([0x123456789ABCDEF0, 7])


class TestAttention(OpCase):
    op_name = "scaled_dot_product_attention"
    mask_shape = None
    scale = None
    variants = (
        {"shape": ((2, 3, 5, 7), (2, 3, 9, 7), (2, 3, 9, 4)), "mask_shape": (2, 1, 5, 9)},
        {"shape": ((5, 8), (17, 8), (17, 3)), "scale": 0.3},
        {"shape": ((2, 3, 33, 16),) * 3, "mask_shape": (33, 33)},
        {"shape": ((3, 5, 4), (1, 6, 4), (6, 2))},  # leading dimensions broadcast
        {"shape": ((5, 4), (1, 6, 4), (3, 6, 2)), "mask_shape": (5, 6)},
        {"shape": ((1, 1), (1, 1), (1, 1)), "mask_shape": (1, 1)},
    )

    def inputs(self, rng, dtype):
        return self.sized(rng, dtype, (*self.shape, self.mask_shape) if self.mask_shape else self.shape)

    def large_inputs(self, rng, dtype):
        mask = ((65, 70),) if self.mask_shape else ()
        return self.sized(rng, dtype, ((3, 4, 65, 33), (3, 4, 70, 33), (3, 4, 70, 33), *mask))

    def empty_inputs(self, dtype):
        self.mask_shape = None
        return np.ones((2, 3, 4), dtype), np.ones((2, 0, 4), dtype), np.ones((2, 0, 5), dtype)

    def draw(self, rng, dtype):
        *lead, length, keys, e, d = (int(n) for n in rng.integers(1, [4, 4, 34, 34, 20, 20]))
        shapes = [(*lead, length, e), (*lead, keys, e), (*lead, keys, d)]
        masks = [None, (length, keys), (1, keys), (lead[0], 1, length, keys)]
        mask = masks[rng.integers(4)]
        settings = {"mask_shape": mask, "scale": [None, 0.2][rng.integers(2)]}
        return settings, self.sized(rng, dtype, [*shapes, *([mask] if mask else [])])

    def reduction(self, q, k, v, *mask):
        return sum(q.shape) + sum(k.shape) + sum(v.shape)

    def op(self, *inputs):
        return ops.scaled_dot_product_attention(*inputs, scale=self.scale)

    def reference(self, q, k, v, mask=None):
        return reference.attention(q, k, v, mask, self.scale)

    def reference_backward(self, dy, q, k, v, mask=None):
        gradients = reference.attention_backward(dy, q, k, v, mask, self.scale)
        return gradients[: 3 if mask is None else 4]


class TestShownAndHidden(TestAttention):
    """A mask of bools, in which one query sees nothing at all."""

    variants = (
        {"shape": ((2, 3, 5, 7), (2, 3, 9, 7), (2, 3, 9, 4)), "mask_shape": (2, 1, 5, 9)},
        {"shape": ((33, 16),) * 3, "mask_shape": (33, 33)},
    )

    def inputs(self, rng, dtype):
        *inputs, mask = super().inputs(rng, dtype)
        mask = mask > 0
        mask[..., 2, :] = False
        return *inputs, mask

    def large_inputs(self, rng, dtype):
        *inputs, mask = super().large_inputs(rng, dtype)
        return *inputs, mask > 0

    def draw(self, rng, dtype):
        settings, (q, k, v, *_) = super().draw(rng, dtype)
        mask = rng.random((q.shape[-2], k.shape[-2])) < 0.4
        return {**settings, "mask_shape": mask.shape}, (q, k, v, mask)


class WithoutMask(TestAttention):
    def draw(self, rng, dtype):
        settings, inputs = super().draw(rng, dtype)
        return {**settings, "mask_shape": None}, inputs[:3]


class TestCausal(WithoutMask):
    variants = (
        {"shape": ((2, 3, 17, 7), (2, 3, 17, 7), (2, 3, 17, 4))},
        {"shape": ((5, 8), (3, 8), (3, 3))},
        {"shape": ((3, 8), (5, 8), (5, 3))},
    )

    def op(self, *inputs):
        return ops.scaled_dot_product_attention(*inputs, is_causal=True, scale=self.scale)

    def _mask(self, q, k):
        return reference.causal_mask(q.shape[-2], k.shape[-2])

    def reference(self, q, k, v):
        return reference.attention(q, k, v, self._mask(q, k), self.scale)

    def reference_backward(self, dy, q, k, v):
        return reference.attention_backward(dy, q, k, v, self._mask(q, k), self.scale)[:3]


class TestDropped(WithoutMask):
    """Weights are dropped as ``dropout`` drops the elements of an array (..., L, S)."""

    variants = ({"shape": ((2, 3, 5, 7), (2, 3, 9, 7), (2, 3, 9, 4))}, {"shape": ((33, 16),) * 3})

    def op(self, *inputs):
        scale = inputs[0].shape[-1] ** -0.5 if self.scale is None else self.scale
        function = Attention(scale, False, 0.3, False)
        function.key = KEY
        return function.apply(*inputs)

    def reference(self, *inputs):
        return reference.attention(*inputs, None, self.scale, 0.3, KEY)

    def reference_backward(self, dy, *inputs):
        return reference.attention_backward(dy, *inputs, None, self.scale, 0.3, KEY)[:3]


@pytest.mark.parametrize("mask", [None, (5, 5), (4, 1, 1, 5), (1, 3, 5, 5)])
@pytest.mark.parametrize("kind", ["b", "f"])
@pytest.mark.parametrize("first", [0, 1])
def test_the_same_bits_in_parts(mask, kind, first, monkeypatch):
    """Weights that were not kept are computed again, in parts along the first axis of more than one."""
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
    np.testing.assert_allclose(y.numpy(force=True), reference.attention(*arrays, seen), rtol=0, atol=limit)
    dy = rng.standard_normal(y.shape)
    wanted = reference.attention_backward(dy, *arrays, seen)
    second = rv.autograd.grad(y, leaves, rv.tensor(dy), create_graph=True)  # from all weights
    y.backward(rv.tensor(dy))
    for leaf, again, want in zip(leaves, second, wanted, strict=False):
        np.testing.assert_allclose(leaf.grad.numpy(), want, rtol=0, atol=limit)
        np.testing.assert_allclose(again.numpy(force=True), want, rtol=0, atol=limit)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "shape", [(0, 5, 4), (0, 3, 5, 4), (3, 0, 5, 4), (2, 0, 600, 4), (0, 4), (2, 3, 0, 4)]
)
def test_nothing_to_attend(shape, causal):
    x = rv.zeros(*shape, requires_grad=True)
    y = ops.scaled_dot_product_attention(x, x, x, is_causal=causal)
    y.sum().backward()
    assert y.shape == x.grad.shape == shape


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


def test_grouped_queries():
    q, kv = rv.randn(2, 6, 5, 4), rv.randn(2, 2, 3, 4, requires_grad=True)
    y = ops.scaled_dot_product_attention(q, kv, kv, enable_gqa=True)
    heads = kv.detach()[:, [0, 0, 0, 1, 1, 1]].requires_grad_()
    wanted = ops.scaled_dot_product_attention(q, heads, heads)
    np.testing.assert_array_equal(y.numpy(force=True), wanted.numpy(force=True))
    y.sum().backward(), wanted.sum().backward()
    sums = heads.grad.numpy().reshape(2, 2, 3, 3, 4).sum(2)
    np.testing.assert_allclose(kv.grad.numpy(), sums, rtol=0, atol=tolerance("float32", 50, 4))


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("heads", [(2, 2), (6, 2), (1, 3)])
@pytest.mark.parametrize("mask", [None, (1,), (3,), (2, 1, 3), (2, 6, 1), (2, 6, 3), "causal"])
def test_grouped_queries_are_those_of_repeated_heads(length, heads, mask):
    """One query that is not causal reads keys once for its group; masks have heads, one, or none."""
    q = rv.randn(2, 6, length, 4, requires_grad=True)
    k, v = (rv.randn(2, n, 5, 4, requires_grad=True) for n in heads)
    settings = {"is_causal": mask == "causal"}
    if mask not in (None, "causal"):
        settings["attn_mask"] = rv.randn(*mask[:-1], min(mask[-1], length), 5)
    y = ops.scaled_dot_product_attention(q, k, v, enable_gqa=True, **settings)
    repeated = [rv.repeat_interleave(x.detach(), 6 // x.shape[1], 1).requires_grad_() for x in (k, v)]
    wanted = ops.scaled_dot_product_attention(q.detach(), *repeated, **settings)
    bound = tolerance("float32", 50, 4)
    np.testing.assert_allclose(y.numpy(force=True), wanted.numpy(force=True), rtol=0, atol=bound)
    (y * y).sum().backward(), (wanted * wanted).sum().backward()
    for x, r in zip((k, v), repeated, strict=True):
        sums = r.grad.numpy().reshape(2, x.shape[1], -1, 5, 4).sum(2)
        np.testing.assert_allclose(x.grad.numpy(), sums, rtol=0, atol=8 * bound)


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


def test_large_scores_do_not_overflow():
    q = rv.tensor([[1e4], [-1e4]])
    y = ops.scaled_dot_product_attention(q, q, rv.tensor([[1.0], [2.0]]), scale=1.0)
    assert y.tolist() == [[1.0], [2.0]]


def test_seed_decides_what_is_dropped():
    x = rv.randn(8, 4)

    def attend():
        return ops.scaled_dot_product_attention(x, x, x, dropout_p=0.5).numpy()

    rv.manual_seed(1)
    first, second = attend(), attend()
    rv.manual_seed(1)
    np.testing.assert_array_equal(attend(), first)
    assert (first != second).any()
    assert (ops.scaled_dot_product_attention(x, x, x, dropout_p=1.0).numpy() == 0).all()


def test_the_worked_example():
    """Two words with two numbers each, by hand: scores 1 / sqrt(2) and 0."""
    x = np.eye(2)
    y = ops.scaled_dot_product_attention(x, x, x).numpy()
    share = math.exp(1 / math.sqrt(2)) / (math.exp(1 / math.sqrt(2)) + 1)
    np.testing.assert_allclose(
        y, [[share, 1 - share], [1 - share, share]], rtol=0, atol=tolerance("float64", 4)
    )


@pytest.mark.parametrize(
    ("error", "text", "shapes", "settings"),
    [
        (ValueError, r"got query of shape \(3, 4\), key of shape \(3, 5\)", [(3, 4), (3, 5), (3, 4)], {}),
        (ValueError, r"expected \(..., L, E\), \(..., S, E\)", [(3, 4), (3, 4), (2, 4)], {}),
        (ValueError, r"got query of shape \(4,\)", [(4,), (3, 4), (3, 4)], {}),
        (ValueError, r"got query of shape \(2, 3, 4\)", [(2, 3, 4), (3, 3, 4), (3, 4)], {}),
        (ValueError, r"got dropout_p 1.5; expected a probability", [(3, 4)] * 3, {"dropout_p": 1.5}),
        (ValueError, r"got attn_mask and is_causal=True", [(3, 4)] * 3, {"attn_mask": "b", "causal": True}),
        (ValueError, r"got attn_mask of shape \(2, 2\); .* \(3, 3\)", [(3, 4)] * 3, {"attn_mask": "2"}),
        (ValueError, r"with enable_gqa; expected .* multiple", [(3, 3, 4), *[(2, 3, 4)] * 2], {"gqa": True}),
        (TypeError, r"got attn_mask of dtype int64; expected bool or", [(3, 4)] * 3, {"attn_mask": "i"}),
        (TypeError, r"dtypes float64, float32 and float32", [(3, 4)] * 3, {"double": True}),
    ],
)
def test_errors(error, text, shapes, settings):
    masks = {"b": np.ones((3, 3), bool), "2": np.ones((2, 2), bool), "i": np.ones((3, 3), int)}
    inputs = [np.ones(shape, np.float32) for shape in shapes]
    if settings.pop("double", False):
        inputs[0] = inputs[0].astype(np.float64)
    settings["is_causal"] = settings.pop("causal", False)
    settings["enable_gqa"] = settings.pop("gqa", False)
    if "attn_mask" in settings:
        settings["attn_mask"] = masks[settings["attn_mask"]]
    with pytest.raises(error, match=r"\[scaled_dot_product_attention\] .*" + text):
        ops.scaled_dot_product_attention(*inputs, **settings)
