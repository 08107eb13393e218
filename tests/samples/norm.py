"""Samples of norms over batches, groups and rows: functions, then layers.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

from ranvier import nn
from reference import norm

from samples.draw import images, sequences
from samples.sample import call, fixed, many, op, refused, state


def batch_normalized(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if training:
        return norm.batch_norm(x, weight, bias, eps)
    return norm.batch_norm_eval(x, weight, bias, mean, var, eps)


@op(reference=batch_normalized, terms=many, lacks="C ONNX", apart="infinities")
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


@op(
    of="nn.functional.batch_norm",
    reference=batch_normalized,
    lacks="limits infinity C-infinity",
    apart="NaN infinity",
)
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


@op(
    reference=instance_normalized,
    terms=many,
    lacks="infinity C-infinity",
    apart="NaN infinity",
    anything="momentum",
)
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


@op(reference=norm.group_norm, terms=many, lacks="C-infinity")
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


@op(reference=layer_normalized, terms=many, lacks="C-infinity")
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


@op(
    reference=lambda x, shape, weight=None, eps=1e-3: norm.rms_norm(x, len(shape), weight, eps),
    terms=many,
    lacks="C-infinity",
    apart="infinity",
)
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


@op(anything="k")
def local_response_norm(x):
    yield call(x(2, 4, 5), 2, 0.1)
    yield call(x(2, 4, 3, 3), 3, alpha=0.5, beta=0.5, k=2.0)


@op(lacks="infinity")
def BatchNorm1d(x):
    yield call(nn.BatchNorm1d(6), x(5, 6))
    yield call(nn.BatchNorm1d(4, eps=1e-3, momentum=None), sequences(x))
    yield call(nn.BatchNorm1d(6).eval(), x(5, 6))
    for text, shape in (
        ("of shape (2, 3, 4, 4); expected 2 dimensions", (2, 3, 4, 4)),
        ("with 4 channels; expected num_features, 3", (2, 4)),
        ("of shape (1, 3) when training; expected more than 1", (1, 3)),
    ):
        yield refused(ValueError, f"[batch_norm] got x {text}", nn.BatchNorm1d(3), x(*shape))


@op()
def BatchNorm2d(x):
    yield call(nn.BatchNorm2d(4), images(x))
    yield call(nn.BatchNorm2d(4, affine=False, track_running_stats=False), images(x))
    text = "[batch_norm] got x of shape (2, 3); expected 4 dimensions (N, C, H, W)"
    yield refused(ValueError, text, nn.BatchNorm2d(3), x(2, 3))


@op()
def SyncBatchNorm(x):
    yield call(nn.SyncBatchNorm(4), images(x))


@op()
def InstanceNorm1d(x):
    yield call(nn.InstanceNorm1d(4), sequences(x))
    text = "[instance_norm] got x of shape (2, 3, 1); expected"
    yield refused(ValueError, text, nn.InstanceNorm1d(3), x(2, 3, 1))


@op(lacks="infinity")
def InstanceNorm2d(x):
    yield call(nn.InstanceNorm2d(4, affine=True), images(x))
    yield call(nn.InstanceNorm2d(4, affine=True, track_running_stats=True), images(x))
    yield call(nn.InstanceNorm2d(4, track_running_stats=True).eval(), images(x))


@op()
def LayerNorm(x):
    yield call(nn.LayerNorm(6), x(4, 6))
    yield call(nn.LayerNorm((8, 8), bias=False), images(x))
    text = "[layer_norm] got x of shape (2, 4) and normalized_shape (3,); expected"
    yield refused(ValueError, text, nn.LayerNorm(3), x(2, 4))


@op()
def GroupNorm(x):
    yield call(nn.GroupNorm(2, 4), images(x))
    yield call(nn.GroupNorm(2, 4, bias=False), images(x))
    text = "[group_norm] got x of shape (1, 4) in 4 groups; expected more than 1"
    yield refused(ValueError, text, nn.GroupNorm(4, 4), x(1, 4))


@op(lacks="C-infinity")
def RMSNorm(x):
    yield call(nn.RMSNorm(6), x(4, 6))
    yield call(nn.RMSNorm(6, 1e-6, elementwise_affine=False), x(4, 6))


@op
def LocalResponseNorm(x):
    yield call(nn.LocalResponseNorm(3, alpha=0.5), images(x))
    yield call(nn.LocalResponseNorm(2, 0.3, 0.5, 2.0), sequences(x))
