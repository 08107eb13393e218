"""Samples of `ops/neural`: attention, norms, embedding, dropout, distances of rows."""

import numpy as np
from reference import distance, norm

from samples.sample import call, fixed, op, refused, state


@op
def scaled_dot_product_attention(x):
    yield call(x(2, 3, 4, 5), x(2, 3, 6, 5), x(2, 3, 6, 7))
    yield call(x(3, 4, 5), x(3, 4, 5), x(3, 4, 5), is_causal=True)
    yield call(x(2, 4, 5), x(2, 6, 5), x(2, 6, 5), x.bools(4, 6) | np.eye(4, 6, dtype=bool), scale=0.5)
    yield call(x(2, 4, 5), x(2, 6, 5), x(2, 6, 5), attn_mask=fixed(x(4, 6)))
    yield call(x(2, 4, 5), x(2, 6, 5), x(2, 6, 5), attn_mask=x(4, 6))
    yield call(x(1, 4, 3, 5), x(1, 2, 3, 5), x(1, 2, 3, 5), enable_gqa=True)
    yield refused(ValueError, "[scaled_dot_product_attention] got", x(2, 4, 5), x(2, 6, 4), x(2, 6, 5))


def many(*args, **settings):
    return 64


@op(reference=lambda x, *rest, **_: norm.batch_norm(x, *(*rest[2:], None, None)[:2]), terms=many)
def batch_norm(x):
    yield call(x(5, 4), None, None, x(4), x(4), training=True)
    yield call(x(2, 4, 3, 3), state(x(4)), state(x(4, low=0.5)), x(4), x(4), training=True)
    yield call(x(2, 4, 3), None, None, training=True)
    yield refused(ValueError, "[batch_norm] got", x(5, 4), None, None, x(3), x(3), training=True)


def by_running_statistics(x, *statistics):
    of_channels = (np.reshape(s, (-1, *[1] * (x.ndim - 2))) for s in (*statistics, np.ones(4), np.zeros(4)))
    mean, var, weight, bias, *_ = of_channels
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


@op(of="nn.functional.batch_norm", reference=by_running_statistics)
def batch_norm_of_running_statistics(x):
    yield call(x(5, 4), fixed(x(4)), fixed(x(4, low=0.5)), x(4), x(4))
    yield call(x(2, 4, 3, 3), fixed(x(4)), fixed(x(4, low=0.5)))


@op
def instance_norm(x):
    yield call(x(2, 4, 5))
    yield call(x(2, 4, 3, 3), weight=x(4), bias=x(4))
    yield call(x(2, 4, 5), state(x(4)), state(x(4, low=0.5)), momentum=0.7)
    yield call(x(2, 4, 5), fixed(x(4)), fixed(x(4, low=0.5)), use_input_stats=False)


@op(terms=many)
def group_norm(x):
    yield call(x(2, 4, 5), 2, x(4), x(4))
    yield call(x(2, 6, 3, 3), 3)
    yield call(x(0, 4, 5), 2, x(4), x(4))
    yield refused(ValueError, "[group_norm] got", x(2, 4, 5), 3)


@op(terms=many)
def layer_norm(x):
    yield call(x(3, 7), (7,), x(7), x(7))
    yield call(x(2, 3, 5), (3, 5))
    yield call(x(2, 3, 5), [5], x(5), eps=1e-3)
    yield call(x(0, 3), (3,), x(3), x(3))
    yield refused(ValueError, "[layer_norm] got", x(3, 7), (6,))


@op(terms=many)
def rms_norm(x):
    yield call(x(3, 7), (7,), x(7))
    yield call(x(2, 3, 5), (3, 5), eps=1e-3)
    yield refused(ValueError, "[rms_norm] got", x(3, 7), (6,))


PADDED = "rows of padding have no gradient"
DIVIDED = "rows of the gradient are divided by counts"


@op(reference=lambda index, weight, **_: weight[index])
def embedding(x):
    yield call(x.integers(0, 5, 2, 5), x(5, x.n))
    yield call(x.integers(0, 5, 4), x(5, x.n), padding_idx=2).without(PADDED, "gradient", "forward_mode")
    index = x.integers(0, 5, 2, 5, dtype=np.int32)
    yield call(index, x(5, x.n), scale_grad_by_freq=True).without(DIVIDED, "gradient", "forward_mode")
    yield call(x.integers(0, 5, 0), x(5, x.n))
    rows = x.size(1, 40)
    yield call(x.integers(0, rows, *x.shape(most=3)), x(rows, x.size(1, 40)))
    yield refused(IndexError, "[embedding] got", np.array([5]), x(5, x.n))


@op
def embedding_bag(x):
    yield call(x.integers(0, 7, 2, 5), x(7, 3))
    yield call(x.integers(0, 7, 2, 5), x(7, 3), mode="max")
    yield call(x.integers(0, 7, 2, 5), x(7, 3), mode="sum", per_sample_weights=x(2, 5))
    yield call(x.integers(0, 7, 9), x(7, 3), np.array([0, 4, 6]), mode="sum", padding_idx=2)


@op(exact=True, reference=lambda index, num_classes: np.eye(num_classes, dtype=np.int64)[index])
def one_hot(x):
    yield call(x.integers(0, 4, 2, 5), 5)
    yield call(x.integers(0, 4, 0), num_classes=4)
    yield call(x.integers(0, 5, *x.shape()), 5)
    yield refused(TypeError, "[one_hot] got classes of dtype float32", x(2))
    yield refused(ValueError, "[one_hot] got", np.array([5]), 3)


@op(draws=True)
def dropout(x):
    yield call(x(3, x.n), 0.3)
    yield call(x(3, x.n), 0.3, training=False)
    yield call(x(3, x.n), 0.0)
    yield call(x(3, x.n), 1.0)
    yield refused(ValueError, "[dropout] got", x(3, x.n), 1.5)


@op(draws=True)
def alpha_dropout(x):
    yield call(x(3, x.n), 0.3, training=True)
    yield call(x(3, x.n), 0.3)


@op(draws=True)
def dropout2d(x):
    yield call(x(2, 4, 3, 3), 0.3)


@op(
    reference=lambda a, b, dim=1, eps=1e-8: distance.cosine_similarity(a, b, dim, eps),
    terms=many,
    inner=1.0,
)
def cosine_similarity(x):
    yield call(x(3, x.n), x(3, x.n))
    yield call(x(3, x.n, 2), x(3, x.n, 2), dim=2)
    yield call(x(0, 3, 2), x(0, 3, 2))
    shape = x.size(1, 40), x.size(1, 40)
    yield call(x(*shape), x(*shape), x.size(-2, 1), eps=1.0)
    yield refused(ValueError, "[cosine_similarity] got", x(3, x.n), x(3, 6))


def distance_of_rows(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    y = distance.pairwise_distance(x1, x2, -1, p, eps)
    return y[..., None] if keepdim else y


@op(terms=many, inner=1.0, reference=distance_of_rows)
def pairwise_distance(x):
    yield call(x(3, x.n), x(3, x.n))
    yield call(x(3, x.n), x(3, x.n), 3.0, keepdim=True)
    yield call(x(x.n), x(x.n, low=2, high=3), p=1.0)
    yield call(x(3, x.n), x(3, x.n), p=float("inf"))
    yield call(x(0, 3), x(0, 3))
    shape = x.size(1, 40), x.size(1, 40)
    yield call(x(*shape), x(*shape, low=2, high=3), p=3.5)


@op(reference=lambda x, p=2.0, dim=1: x / np.linalg.norm(x, p, dim, keepdims=True), terms=many)
def normalize(x):
    yield call(x(3, x.n))
    yield call(x(3, x.n), p=3.0, dim=0)
    yield call(x(3, x.n), 1.0)
