"""Samples of attention: functions, then layers.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

from functools import partial

import numpy as np
import ranvier as rv
from ranvier import nn
from ranvier.ops.making.random import fresh_key
from reference import attention

from samples.sample import at_kink, call, fixed, many, op, parameters_of, refused


def attended(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    """With enable_gqa a head of keys serves several heads of queries."""
    if enable_gqa:
        k, v = (np.repeat(heads, q.shape[-3] // heads.shape[-3], -3) for heads in (k, v))
    mask, key = attention.causal_mask(q.shape[-2], k.shape[-2]) if is_causal else attn_mask, None
    if dropout_p:
        rv.manual_seed(0)
        key = fresh_key()
    return attention.attention(q, k, v, mask, scale, dropout_p, key)


def products(q, k, v, *mask, **settings):
    return sum(q.shape) + sum(k.shape) + sum(v.shape)


of_products = partial(op, reference=attended, terms=products, autocast="lower")


@of_products(lacks="limits rounding promotion infinity C-infinity", apart="NaN infinity")
def scaled_dot_product_attention(x):
    yield call(x(2, 3, 4, 5), x(2, 3, 6, 5), x(2, 3, 6, 7))
    yield call(x(3, 4, 5), x(3, 4, 5), x(3, 4, 5), is_causal=True)
    yield call(x(4, 5), x(3, 5), x(3, 2), is_causal=True)
    yield call(x(3, 8), x(5, 8), x(5, 3), is_causal=True)
    yield call(x(2, 4, 5), x(2, 6, 5), x(2, 6, 5), x.bools(4, 6) | np.eye(4, 6, dtype=bool), scale=0.5)
    yield call(
        x(2, 3, 4, 5), x(2, 3, 6, 5), x(2, 3, 6, 2), x.bools(2, 1, 4, 6) & (np.arange(4) != 2)[:, None]
    )
    yield call(x(2, 4, 5), x(2, 6, 5), x(2, 6, 5), attn_mask=fixed(x(4, 6)))
    yield call(x(2, 3, 4, 5), x(2, 3, 6, 5), x(2, 3, 6, 7), x(2, 1, 4, 6))
    yield call(x(1, 4, 3, 5), x(1, 2, 3, 5), x(1, 2, 3, 5), enable_gqa=True)
    yield call(x(2, 6, 1, 4), x(2, 2, 5, 4), x(2, 2, 5, 4), enable_gqa=True)
    yield call(x(2, 6, 1, 4), x(2, 1, 5, 4), x(2, 3, 5, 4), x(2, 6, 1, 5), enable_gqa=True)
    yield call(x(2, 6, 1, 4), x(2, 6, 5, 4), x(2, 2, 5, 4), x(2, 1, 1, 5), enable_gqa=True)
    yield call(x(2, 6, 3, 4), x(2, 2, 5, 4), x(2, 2, 5, 4), x(1, 5), enable_gqa=True)
    yield call(x(2, 6, 3, 4), x(2, 1, 5, 4), x(2, 3, 5, 4), is_causal=True, enable_gqa=True)
    yield at_kink(np.array([[1e4], [-1e4]]), x(2, 1), x(2, 3), scale=1.0)  # exponentials would overflow
    yield call(x(3, 5, 4), x(1, 6, 4), x(6, 2))  # leading dimensions broadcast
    yield call(x(5, 4), x(1, 6, 4), x(3, 6, 2), x(5, 6))
    yield call(x(1, 1), x(1, 1), x(1, 1), x(1, 1))
    yield call(x(2, 3, 4), x(2, 0, 4), x(2, 0, 5))  # nothing to attend to
    yield call(x(3, x.n), x(5, x.n), x(5, 4), scale=0.1)
    yield call(x(x.n, 4), x(5, 4), x(5, 3), x(x.n, 5))
    yield call(x(3, 4), x(x.n, 4), x(x.n, x.n % 9 + 1))
    *lead, length, keys, e, d = (
        x.size(1, 3),
        x.size(1, 3),
        x.size(1, 33),
        x.size(1, 33),
        x.size(1, 19),
        x.size(1, 19),
    )
    masks = (length, keys), (1, keys), (lead[0], 1, length, keys)
    arrays = x(*lead, length, e), x(*lead, keys, e), x(*lead, keys, d)
    yield call(*arrays, x(*masks[x.size(0, 2)]))
    yield call(*arrays, x.bools(length, keys), scale=0.2)
    yield call(*arrays, is_causal=True)
    for text, shapes, settings in (
        ("query of shape (3, 4), key of shape (3, 5)", [(3, 4), (3, 5), (3, 4)], {}),
        ("expected (..., L, E), (..., S, E)", [(3, 4), (3, 4), (2, 4)], {}),
        ("got query of shape (4,)", [(4,), (3, 4), (3, 4)], {}),
        ("got query of shape (2, 3, 4)", [(2, 3, 4), (3, 3, 4), (3, 4)], {}),
        ("got dropout_p 1.5; expected a probability", [(3, 4)] * 3, {"dropout_p": 1.5}),
        ("got attn_mask and is_causal=True", [(3, 4)] * 3, {"attn_mask": x.bools(3, 3), "is_causal": True}),
        ("got attn_mask of shape (2, 2)", [(3, 4)] * 3, {"attn_mask": x.bools(2, 2)}),
        ("with enable_gqa; expected", [(3, 3, 4), (2, 3, 4), (2, 3, 4)], {"enable_gqa": True}),
    ):
        yield refused(ValueError, text, *(x(*shape) for shape in shapes), **settings)
    text = "[scaled_dot_product_attention] got attn_mask of dtype int64; expected bool or"
    yield refused(TypeError, text, x(3, 4), x(3, 4), x(3, 4), x.integers(0, 2, 3, 3))


@of_products(of="nn.functional.scaled_dot_product_attention", draws=True, lacks="C ONNX infinity")
def attention_with_dropout(x):
    yield call(x(2, 3, 5, 7), x(2, 3, 9, 7), x(2, 3, 9, 4), dropout_p=0.3)
    yield call(x(33, 16), x(33, 16), x(33, 16), dropout_p=0.5)
    yield call(x(3, 4), x(3, 4), x(3, 2), dropout_p=1.0)


def attended_by_layer(
    module,
    query,
    key,
    value,
    key_padding_mask=None,
    need_weights=True,
    attn_mask=None,
    average_attn_weights=True,
):
    """Attention of each head, and its weights. Keys that settings add are hidden by no mask."""
    p, heads, width = parameters_of(module), module.num_heads, module.head_dim
    whole = p.get("in_proj_weight")
    weights = (p[f"{name}_proj_weight"] for name in "qkv") if whole is None else np.split(whole, 3)
    biases = np.split(p.get("in_proj_bias", np.zeros(3 * heads * width)), 3)
    inputs = (query, key, value) if module.batch_first else (a.swapaxes(0, 1) for a in (query, key, value))
    q, k, v = (a @ w.T + b for a, w, b in zip(inputs, weights, biases, strict=True))
    shape = q.shape[:2]
    mask = np.zeros((len(k), 1, q.shape[1], k.shape[1]))
    each = attn_mask is not None and attn_mask.ndim == 3  # a mask of each sequence and head
    attn_mask = attn_mask.reshape(-1, heads, *attn_mask.shape[1:]) if each else attn_mask
    for hidden in (attn_mask, None if key_padding_mask is None else key_padding_mask[:, None, None]):
        if hidden is not None:
            mask = mask + (np.where(hidden, -np.inf, 0) if hidden.dtype == bool else hidden)
    if module.bias_k is not None:
        k, v = (
            np.append(a, np.broadcast_to(p[row], a[:, :1].shape), 1)
            for a, row in ((k, "bias_k"), (v, "bias_v"))
        )
    if module.add_zero_attn:
        k, v = (np.append(a, np.zeros_like(a[:, :1]), 1) for a in (k, v))
    mask = np.pad(mask, [(0, 0)] * 3 + [(0, k.shape[1] - mask.shape[-1])])
    q, k, v = (a.reshape(*a.shape[:2], heads, width).swapaxes(1, 2) for a in (q, k, v))
    weights = attention.weights(q, k, mask)
    y = (weights @ v).swapaxes(1, 2).reshape(*shape, heads * width)
    y = y @ p["out_proj.weight"].T + p.get("out_proj.bias", 0)
    y = y if module.batch_first else y.swapaxes(0, 1)
    return [y, weights.mean(1) if average_attn_weights else weights] if need_weights else y


@op(
    draws=True,
    inner=1.0,
    terms=many,
    reference=attended_by_layer,
    lacks="limits rounding infinity written C-infinity",
    autocast="lower",
)
def MultiheadAttention(x):
    one, two, hidden = (5, 3, 6), (4, 3, 6), np.arange(4) >= np.array([[4], [2], [3]])
    yield call(nn.MultiheadAttention(6, 2), x(*one), x(*two), x(*two))
    yield call(
        nn.MultiheadAttention(6, 3, 0.2, bias=False, kdim=5, vdim=4), x(5, 6), x(7, 5), x(7, 4)
    ).without("draws", "reference")
    for mask in ((5, 4), (6, 5, 4)):
        yield call(nn.MultiheadAttention(6, 2), x(*one), x(*two), x(*two), attn_mask=x(*mask))
    yield call(nn.MultiheadAttention(6, 3, kdim=5, vdim=4), x(5, 3, 6), x(4, 3, 5), x(4, 3, 4), hidden)
    settings = {"average_attn_weights": False, "attn_mask": np.triu(np.ones((4, 4), bool), 1)}
    for shape, batch_first in (((4, 3, 6), False), ((3, 4, 6), True)):
        layer = nn.MultiheadAttention(6, 2, 0.0, False, True, True, batch_first=batch_first)
        yield call(layer, x(*shape), x(*shape), x(*shape), hidden, **settings)
    batch = x(3, 4, 6)
    yield call(nn.MultiheadAttention(6, 2, batch_first=True), batch, x(3, 4, 6), batch, None, False)
    for shape in ((0, 3, 6), (5, 0, 6)):
        yield call(nn.MultiheadAttention(6, 2), x(*shape), x(*shape), x(*shape))


@op(draws=True, inner=1.0, lacks="rounding")
def TransformerEncoderLayer(x):
    yield call(nn.TransformerEncoderLayer(6, 2, 8), x(4, 3, 6))
    yield call(nn.TransformerEncoderLayer(6, 2, 8, 0.0), x(4, 3, 6), is_causal=True).without(
        "PyTorch takes is_causal beside a mask", "pytorch"
    )
    yield call(
        nn.TransformerEncoderLayer(6, 3, 8, 0.3, "gelu", batch_first=True, norm_first=True, bias=False),
        x(3, 4, 6),
    )
    yield call(nn.TransformerEncoderLayer(6, 2, 8), x(0, 3, 6))
    yield call(nn.TransformerEncoderLayer(6, 2, 8), x(4, 0, 6))


@op(draws=True, inner=1.0, lacks="rounding")
def TransformerDecoderLayer(x):
    yield call(nn.TransformerDecoderLayer(6, 2, 8), x(4, 3, 6), x(5, 3, 6))
    yield call(nn.TransformerDecoderLayer(6, 2, 8), x(4, 0, 6), x(5, 0, 6))
    yield call(nn.TransformerDecoderLayer(6, 2, 8), x(0, 3, 6), x(0, 3, 6))


@op(draws=True, inner=1.0, lacks="rounding")
def Transformer(x):
    yield call(nn.Transformer(6, 2, 1, 2, 8, 0.1, "gelu", batch_first=True), x(3, 4, 6), x(3, 5, 6))
