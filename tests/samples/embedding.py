"""Samples of embeddings and dropout, and of distances of rows: functions, then layers.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

import numpy as np
import ranvier as rv
from ranvier import nn
from ranvier.ops.making.random import fresh_key
from reference import distance, dropout as dropout_reference

from samples.draw import images
from samples.sample import all_terms, call, fixed, many, op, refused

PADDED = "rows of padding have no gradient"


DIVIDED = "rows of the gradient are divided by counts"


@op(reference=lambda index, weight, *_, **__: weight[index], anything="norm_type")
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
    yield refused(TypeError, "got scale_grad_by_freq 'no'", np.array([0]), weight, scale_grad_by_freq="no")
    yield refused(TypeError, "[embedding] got max_norm 'one'", np.array([0]), weight, max_norm="one")


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


@op(reference=bags, terms=all_terms, lacks="C ONNX", apart="ties NaN infinity", anything="norm_type")
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


@op(exact=True, reference=lambda index, num_classes: np.eye(num_classes, dtype=np.int64)[index], lacks="C")
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


@op(draws=True, reference=dropped(dropout_reference.dropout), lacks="ONNX")
def dropout(x):
    yield call(x(3, x.n), 0.3)
    yield call(x(3, x.n), 0.3, training=False)
    yield call(x(3, x.n), 0.0)
    yield call(x(3, x.n), 1.0)
    yield call(x(*x.shape()), x.size(0, 10) / 10)
    yield call(x(0, 3), 0.3)
    yield refused(ValueError, "[dropout] got p 1.5; expected a probability", x(3), 1.5)
    yield refused(TypeError, "[dropout] got x of dtype int64", x.integers(0, 9, 3))


@op(draws=True, reference=dropped(dropout_reference.alpha_dropout), inner=10.0, lacks="ONNX")
def alpha_dropout(x):
    yield call(x(3, x.n), 0.3, training=True)
    yield call(x(3, x.n), 0.3, training=False)
    yield call(x(3, x.n), 1.0, training=True)
    yield call(x(*x.shape()), x.size(0, 9) / 10, training=True)


@op(draws=True, reference=dropped(dropout_reference.channel_dropout), lacks="C ONNX")
def dropout2d(x):
    yield call(x(2, 4, 3, 3), 0.3)
    yield call(x(2, x.n, 3), 0.3)
    yield call(x(2, 4), 1.0)
    yield call(x(*x.shape(least=2)), x.size(0, 10) / 10)
    yield refused(ValueError, "[dropout2d] got x of shape (2,); expected 2 dim", x(2), 0.5)


@op(reference=lambda a, b, dim=1, eps=1e-8: distance.cosine_similarity(a, b, dim, eps), terms=many, inner=1.0)
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


@op(terms=many, inner=1.0, reference=distance_of_rows, lacks="0-d C-infinity", apart="NaN infinity")
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


@op(
    reference=lambda x, p=2.0, dim=1, eps=0.0: x / np.linalg.norm(x, p, dim, keepdims=True),
    terms=many,
    lacks="C-infinity",
)
def normalize(x):
    yield call(x(3, x.n))
    yield call(x(3, x.n), p=3.0, dim=0)
    yield call(x(3, x.n), eps=0.0)
    yield call(x(3, x.n), 1.0)


@op
def Embedding(x):
    yield call(nn.Embedding(7, 3), x.integers(0, 7, 2, 5))
    yield call(nn.Embedding(7, 3, padding_idx=2), x.integers(0, 7, 2, 5)).without(
        PADDED, "gradient", "forward_mode", "jet"
    )


@op(lacks="C NaN")
def CategoryEmbedding(x):
    yield call(nn.CategoryEmbedding(1, [4, 9]), fixed(x.integers(0, 4, 5, 3).astype(float)))


@op(lacks="C ONNX")
def EmbeddingBag(x):
    yield call(nn.EmbeddingBag(7, 3), x.integers(0, 7, 2, 5))
    yield call(nn.EmbeddingBag(7, 3, mode="max"), x.integers(0, 7, 2, 5))
    yield call(nn.EmbeddingBag(7, 3, mode="sum", padding_idx=2), x.integers(0, 7, 9), np.array([0, 4, 6]))


@op(draws=True)
def Dropout(x):
    yield call(nn.Dropout(0.3), x(4, 6))
    yield call(nn.Dropout(0.3).eval(), x(4, 6))


@op(draws=True)
def Dropout2d(x):
    yield call(nn.Dropout2d(0.3), images(x))


@op(draws=True)
def AlphaDropout(x):
    yield call(nn.AlphaDropout(0.3), x(4, 6))


@op(draws=True, lacks="C ONNX")
def dropout1d(x):
    yield call(x(2, 4, 3), 0.3)
    yield call(x(4, x.n), 0.3)
    yield call(x(2, 4, 3), 1.0)
    yield refused(ValueError, "[dropout1d] got x of shape (2,); expected (N, C, L)", x(2), 0.5)


@op(draws=True, inner=10.0, lacks="C ONNX")
def feature_alpha_dropout(x):
    yield call(x(2, 4, 3), 0.3, training=True)
    yield call(x(2, 4, 3), 1.0, training=True)
    yield refused(ValueError, "[feature_alpha_dropout] got x of shape (2,)", x(2), 0.5)


@op(draws=True)
def Dropout1d(x):
    yield call(nn.Dropout1d(0.3), x(2, 4, 3))


@op(draws=True)
def FeatureAlphaDropout(x):
    yield call(nn.FeatureAlphaDropout(0.3), x(2, 4, 3))
