"""Samples of `ops/neural`: attention, norms, embedding, dropout, distances of rows."""

import numpy as np
import ranvier as rv
from ranvier.ops.making.random import fresh_key
from reference import attention, distance, norm
from reference import dropout as dropout_reference

from samples.sample import at_kink, call, fixed, op, refused, state


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


@op(reference=attended, terms=products)
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


@op(of="nn.functional.scaled_dot_product_attention", reference=attended, terms=products, draws=True)
def attention_with_dropout(x):
    yield call(x(2, 3, 5, 7), x(2, 3, 9, 7), x(2, 3, 9, 4), dropout_p=0.3)
    yield call(x(33, 16), x(33, 16), x(33, 16), dropout_p=0.5)
    yield call(x(3, 4), x(3, 4), x(3, 2), dropout_p=1.0)


def many(*args, **settings):
    return 64


def batch_normalized(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if training:
        return norm.batch_norm(x, weight, bias, eps)
    return norm.batch_norm_eval(x, weight, bias, mean, var, eps)


@op(reference=batch_normalized, terms=many)
def batch_norm(x):
    yield call(x(5, 4), None, None, x(4), x(4), training=True)
    yield call(x(2, 4, 3, 3), state(x(4)), state(x(4, low=0.5)), x(4), x(4), training=True)
    yield call(x(2, 4, 3), None, None, training=True)
    yield call(x(9, x.n), None, None, x(x.n), x(x.n), training=True, eps=0.1)
    yield call(x(2, 3, x.n + 1), None, None, x(3), training=True, eps=0.1)
    yield call(x(2, x.n, 3, 2), None, None, x(x.n), x(x.n), training=True, eps=0.1)
    n, c, *rest = x.size(2, 9), x.size(1, 40), *x.shape(most=2)
    yield call(x(n, c, *rest), None, None, x(c), x(c), training=True, eps=0.1)
    yield refused(ValueError, "[batch_norm] got", x(5, 4), None, None, x(3), x(3), training=True)


@op(of="nn.functional.batch_norm", reference=batch_normalized)
def batch_norm_of_running_statistics(x):
    yield call(x(5, 4), fixed(x(4)), fixed(x(4, low=0.5)), x(4), x(4))
    yield call(x(2, 4, 3, 3), fixed(x(4)), fixed(x(4, low=0.5)))
    yield call(x(2, 3, x.n), fixed(x(3)), fixed(x(3, low=0.5)), x(3))
    yield call(x(2, x.n, 3, 2), fixed(x(x.n)), fixed(x(x.n, low=0.5)), x(x.n), x(x.n))
    n, c, *rest = x.size(1, 9), x.size(1, 40), *x.shape(most=2)
    yield call(x(n, c, *rest), fixed(x(c)), fixed(x(c, low=0.5)), x(c), x(c), eps=0.1)


def instance_normalized(
    x, mean=None, var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5
):
    if use_input_stats:
        return norm.group_norm(x, x.shape[1], weight, bias, eps)
    return norm.batch_norm_eval(x, weight, bias, mean, var, eps)


@op(reference=instance_normalized, terms=many)
def instance_norm(x):
    yield call(x(2, 4, 5))
    yield call(x(2, 4, 3, 3), weight=x(4), bias=x(4))
    yield call(x(2, 4, 5), state(x(4)), state(x(4, low=0.5)), momentum=0.7)
    yield call(x(2, 4, 5), fixed(x(4)), fixed(x(4, low=0.5)), use_input_stats=False)
    yield call(x(2, x.n, 3, 2), weight=x(x.n), eps=0.1)
    yield call(x(2, 3, x.n + 1), weight=x(3), bias=x(3), eps=0.1)
    n, c = x.size(1, 3), x.size(1, 40)
    yield call(x(n, c, x.size(2, 20)), weight=x(c), bias=x(c), eps=0.1)
    text = "[instance_norm] got a running statistic (2,); expected both, of shape (3,)"
    yield refused(ValueError, text, x(2, 3, 4), x(2), x(2))
    yield refused(ValueError, "got a running statistic None", x(2, 3, 4), x(3))


@op(reference=norm.group_norm, terms=many)
def group_norm(x):
    yield call(x(2, 4, 5), 2, x(4), x(4))
    yield call(x(2, 6, 3, 3), 3)
    yield call(x(3, 6, 7), 1, x(6), x(6))
    yield call(x(2, 4, 3, 5), 4, x(4))
    yield call(x(0, 4, 5), 2, x(4), x(4))
    yield call(x(2, 2 * x.n, 5), 2, x(2 * x.n), x(2 * x.n), eps=0.1)
    yield call(x(2, 4, 3, x.n), 2, x(4), x(4), eps=0.1)
    groups, width = x.size(1, 8), x.size(2, 17)
    c = groups * width
    yield call(x(x.size(1, 3), c, *x.shape(most=2)), groups, x(c), x(c), eps=0.1)
    yield refused(ValueError, "[group_norm] got", x(2, 4, 5), 3)


def layer_normalized(x, shape, weight=None, bias=None, eps=1e-5):
    return norm.layer_norm(x, len(shape), weight, bias, eps)


@op(reference=layer_normalized, terms=many)
def layer_norm(x):
    yield call(x(3, 7), (7,), x(7), x(7))
    yield call(x(2, 3, 5), (3, 5))
    yield call(x(2, 3, 5), [5], x(5), eps=1e-3)
    yield call(x(2, 3, 4, 5), (3, 4, 5), x(3, 4, 5), x(3, 4, 5))
    yield call(x(33), (33,), x(33), x(33))
    yield call(x(0, 3), (3,), x(3), x(3))
    yield call(x(3, x.n), (x.n,), x(x.n), x(x.n), eps=0.1)
    yield call(x(x.n, 4), (4,), x(4), x(4), eps=0.1)
    shape = x.shape(least=1, high=20)
    own = shape[x.size(0, len(shape) - 1) :]
    yield call(x(*shape), own, x(*own), x(*own), eps=0.1)
    yield refused(ValueError, "[layer_norm] got", x(3, 7), (6,))


@op(reference=lambda x, shape, weight=None, eps=1e-3: norm.rms_norm(x, len(shape), weight, eps), terms=many)
def rms_norm(x):
    yield call(x(3, 7), (7,), x(7)).without("its eps is that of the dtype", "reference")
    yield call(x(2, 3, 5), (3, 5), eps=1e-3)
    yield call(x(2, 3, 5), (3, 5), x(3, 5), 1e-3)
    yield call(x(3, x.n), (x.n,), x(x.n), eps=0.1)
    yield call(x(x.n, 4), (4,), x(4), eps=0.1)
    shape = x.shape(least=1, high=20)
    own = shape[x.size(0, len(shape) - 1) :]
    yield call(x(*shape), own, x(*own), eps=0.1)
    yield refused(ValueError, "[rms_norm] got", x(3, 7), (6,))


PADDED = "rows of padding have no gradient"
DIVIDED = "rows of the gradient are divided by counts"


@op(reference=lambda index, weight, *_, **__: weight[index])
def embedding(x):
    yield call(x.integers(0, 5, 2, 5), x(5, x.n))
    yield call(x.integers(0, 5, 4), x(5, x.n), padding_idx=2).without(
        PADDED, "gradient", "forward_mode", "jet"
    )
    index = x.integers(0, 5, 2, 5, dtype=np.int32)
    yield call(index, x(5, x.n), scale_grad_by_freq=True).without(DIVIDED, "gradient", "forward_mode", "jet")
    yield call(np.array(0), x(1, x.n))
    yield call(x.integers(0, 5, 0), x(5, x.n))
    rows = x.size(1, 40)
    yield call(x.integers(0, rows, *x.shape(most=3)), x(rows, x.size(1, 40)))
    weight = x(4, 2)
    yield refused(
        IndexError, "[embedding] got index 4 for 4 embeddings; expected 0", np.array([0, 4]), weight
    )
    yield refused(IndexError, "[embedding] got index -1 for 4 embeddings; expected", np.array([[-1]]), weight)
    yield refused(
        TypeError, "[embedding] got index of dtype float32; expected an integer dtype", x(2), weight
    )
    yield refused(ValueError, "[embedding] got weight of shape (4,); expected 2", np.array([0]), x(4))
    yield refused(ValueError, "[embedding] got padding_idx 4 for 4 embeddings", np.array([0]), weight, 4)


def bags(index, weight, offsets=None, mode="mean", per_sample_weights=None, padding_idx=None, **settings):
    """The rows of each bag, joined; 0 of an empty one."""
    starts = [*range(0, index.size, index.shape[-1])] if offsets is None else [*offsets]
    ends = starts[1:] if settings.get("include_last_offset") else [*starts[1:], index.size]
    factors = np.ones(index.size) if per_sample_weights is None else per_sample_weights.ravel()
    y = np.zeros((len(ends), weight.shape[1]))
    for number, (start, end) in enumerate(zip(starts, ends, strict=False)):
        places = [i for i in range(start, end) if index.flat[i] != padding_idx]
        if places:
            rows = weight[index.ravel()[places]] * factors[places, None]
            y[number] = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode](rows, 0)
    return y


@op(reference=bags, terms=lambda index, *args, **settings: index.size)
def embedding_bag(x):
    for mode in ("mean", "sum", "max"):
        yield call(x.integers(0, 7, 12, 5), x(7, x.n), mode=mode)
        offsets = np.array([0, 0, 5, 5, 30, 60])  # empty bags
        yield call(x.integers(0, 7, 60), x(7, x.n), offsets, mode=mode, padding_idx=2)
    yield call(x.integers(0, 7, 60), x(7, x.n), offsets, mode="sum", include_last_offset=True)
    settings = {"include_last_offset": True, "padding_idx": 1}
    for mode in ("mean", "max"):  # the last bag ends before the indices do
        two = call(np.array([0, 1, 2, 1, 4]), x(5, 3), np.array([0, 2, 4]), mode=mode, **settings)
        yield two.without("PyTorch goes on to the end of the indices", "pytorch")
    none = call(np.array([0, 1, 2]), x(5, 3), np.array([0]), mode="sum", include_last_offset=True)
    yield none.without("PyTorch ends the process", "pytorch", "error_class_of_numbers")
    yield call(x.integers(0, 7, 2, 5, dtype=np.int32), x(7, x.n), mode="sum", per_sample_weights=x(2, 5))
    weights = {"mode": "sum", "per_sample_weights": x(9), "padding_idx": 2}
    yield call(x.integers(0, 7, 9), x(7, 3), np.array([0, 4, 6]), **weights)
    yield refused(ValueError, "[embedding_bag] got", x.integers(0, 7, 9), x(7, 3))
    yield refused(ValueError, "got padding_idx 7 for 7", x.integers(0, 7, 2, 5), x(7, 3), padding_idx=7)


@op(exact=True, reference=lambda index, num_classes: np.eye(num_classes, dtype=np.int64)[index])
def one_hot(x):
    yield call(x.integers(0, 4, 2, 5), 5)
    yield call(x.integers(0, 4, 0), num_classes=4)
    yield call(x.integers(0, 5, *x.shape()), 5)
    yield refused(TypeError, "[one_hot] got classes of dtype float32", x(2))
    yield refused(ValueError, "[one_hot] got", np.array([5]), 3)
    yield refused(ValueError, "got classes from -1 to 2; expected 0 to 2", np.array([-1, 2]), 3)
    yield refused(ValueError, "expected num_classes to be given", np.zeros(0, np.int64))


def dropped(function):
    """The reference with the numbers that are drawn first after `manual_seed(0)`."""

    def reference(x, p=0.5, training=True):
        rv.manual_seed(0)
        return function(x, p, fresh_key()) if training and p else x

    return reference


@op(draws=True, reference=dropped(dropout_reference.dropout))
def dropout(x):
    yield call(x(3, x.n), 0.3)
    yield call(x(3, x.n), 0.3, training=False)
    yield call(x(3, x.n), 0.0)
    yield call(x(3, x.n), 1.0)
    yield call(x(*x.shape()), x.size(0, 10) / 10)
    yield call(x(0, 3), 0.3)
    yield refused(ValueError, "[dropout] got p 1.5; expected a probability", x(3), 1.5)
    yield refused(TypeError, "[dropout] got x of dtype int64", x.integers(0, 9, 3))


@op(draws=True, reference=dropped(dropout_reference.alpha_dropout), inner=10.0)
def alpha_dropout(x):
    yield call(x(3, x.n), 0.3, training=True)
    yield call(x(3, x.n), 0.3, training=False)
    yield call(x(3, x.n), 1.0, training=True)
    yield call(x(*x.shape()), x.size(0, 9) / 10, training=True)


@op(draws=True, reference=dropped(dropout_reference.channel_dropout))
def dropout2d(x):
    yield call(x(2, 4, 3, 3), 0.3)
    yield call(x(2, x.n, 3), 0.3)
    yield call(x(2, 4), 1.0)
    yield call(x(*x.shape(least=2)), x.size(0, 10) / 10)
    yield refused(ValueError, "[dropout2d] got x of shape (2,); expected 2 dim", x(2), 0.5)


@op(
    reference=lambda a, b, dim=1, eps=1e-8: distance.cosine_similarity(a, b, dim, eps),
    terms=many,
    inner=1.0,
)
def cosine_similarity(x):
    yield call(x(3, x.n), x(3, x.n))
    yield call(x(3, x.n, 2), x(3, x.n, 2), dim=2)
    yield call(x(3, 7), x(3, 7), eps=0.0)
    yield call(x(0, 3, 2), x(0, 3, 2))
    shape = x.size(1, 40), x.size(1, 40)
    yield call(x(*shape), x(*shape), x.size(-2, 1), eps=1.0)
    yield call(x(4, 1, 3), x(5, 3), dim=-1)
    yield call(x(3, 4, low=-0.1, high=0.1), x(3, 4), eps=1.5).without(
        "the slope of PyTorch goes through the bound of norms", "pytorch"
    )
    yield refused(ValueError, "[cosine_similarity] got shapes (2, 3) and (3, 2); expected", x(2, 3), x(3, 2))
    yield refused(ValueError, "[cosine_similarity] got eps -1; expected at least 0", x(2, 3), x(3), eps=-1)


def distance_of_rows(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    y = distance.pairwise_distance(x1, x2, -1, p, eps)
    return y[..., None] if keepdim else y


@op(terms=many, inner=1.0, reference=distance_of_rows)
def pairwise_distance(x):
    yield call(x(3, x.n), x(3, x.n))
    yield call(x(3, x.n), x(3, x.n), 3.0, keepdim=True)
    yield call(x(x.n), x(x.n, low=2, high=3), p=1.0)
    yield call(x(3, x.n), x(3, x.n), p=float("inf"))
    yield call(x(3, x.n), x(3, x.n, low=2, high=3), p=0.5, eps=0.0)
    yield call(x(0, 3), x(0, 3))
    shape = x.size(1, 40), x.size(1, 40)
    yield call(x(*shape), x(*shape, low=2, high=3), p=3.5)
    yield call(x(4, 1, 3), x(5, 3))
    yield refused(ValueError, "[pairwise_distance] got p 0; expected a number above 0", x(2, 3), x(2, 3), p=0)


@op(reference=lambda x, p=2.0, dim=1, eps=0.0: x / np.linalg.norm(x, p, dim, keepdims=True), terms=many)
def normalize(x):
    yield call(x(3, x.n))
    yield call(x(3, x.n), p=3.0, dim=0)
    yield call(x(3, x.n), eps=0.0)
    yield call(x(3, x.n), 1.0)
