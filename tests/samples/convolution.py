"""Samples of convolutions and of the windows that they read: functions of `ops/image`, then layers.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

from functools import partial

from ranvier import nn
from reference import conv2d as conv2d_reference

from samples.draw import images, sequences
from samples.sample import call, op, refused

convolution = partial(op, autocast="lower")


def products(x, w, *rest, **settings):
    """The terms of each sum of a convolution."""
    return w[0].size + 1


def stamps(x, w, *rest, **settings):
    """Those of a transposed one."""
    return w[:, 0].size + 1


def any_settings(x, axes, names):
    """A number from 1 to 3 for each axis, and number of groups, at random."""
    settings = {name: tuple(x.size(1, 3) for _ in range(axes)) for name in names}
    return settings | {"groups": x.size(1, 3)}


def of_axes(axes, settings):
    """Settings of one axis are numbers."""
    return {name: v[0] if axes == 1 and isinstance(v, tuple) else v for name, v in settings.items()}


def any_convolution(x, axes):
    taps = [x.size(1, 3) for _ in range(axes)]
    settings = any_settings(x, axes, ("stride", "dilation"))
    settings["padding"] = tuple(x.size(0, 3) for _ in range(axes))
    sizes = [d * (tap - 1) + 1 + x.size(0, 15) for d, tap in zip(settings["dilation"], taps, strict=True)]
    each, groups, k = x.size(1, 19), settings["groups"], settings["groups"] * x.size(1, 19)
    images, weight = x(x.size(1, 3), groups * each, *sizes), x(k, each, *taps)
    return call(images, weight, x(k), **of_axes(axes, settings))


gathered = partial(convolution, terms=products, lacks="jet limits promotion", apart="NaN infinity")


@gathered(reference=conv2d_reference.conv1d, anything="padding")
def conv1d(x):
    yield call(x(2, 4, 7), x(6, 4, 3), x(6))
    yield call(x(2, 4, 7), x(6, 2, 3), x(6), stride=2, padding=1, groups=2)
    yield call(x(1, 3, 9), x(2, 3, 2), padding="same", dilation=2)
    yield call(x(2, 1, 20), x(17, 1, 5), x(17), padding=2)  # one channel: taps share a tile
    yield call(x(1, 2, 5), x(3, 2, 1), x(3), stride=3, padding=2)  # some see padding only
    yield call(x(2, x.n, 9), x(x.n, 1, 3), groups=x.n, stride=2, padding=1)  # depthwise
    yield call(x(2, x.n, 5), x(3, x.n, 1), x(3), padding="valid")
    yield call(x(2, 3, x.n), x(4, 3, 3), x(4), padding=1)
    yield call(x(0, 4, 7), x(6, 4, 3), x(6))
    yield any_convolution(x, 1)
    yield call(x(3, 5), x(4, 3, 2))
    images, weight = x(1, 3, 5), x(4, 3, 3)
    for text, settings in (
        ("stride (1, 2); expected an integer", {"stride": (1, 2)}),
        ("a kernel that reaches over 9 samples along l and a padded input of 5", {"dilation": 4}),
        ("x with 3 channels and weight for 9; expected weight of shape (K, 1, S)", {"groups": 3}),
        ("bias of shape (3,); expected (4,)", {"bias": x(3)}),
    ):
        yield refused(ValueError, f"[conv1d] got {text}", images, weight, **settings)
    yield refused(ValueError, "x of shape (1, 3, 5, 1); expected 3 dimensions", x(1, 3, 5, 1), weight)


@gathered(reference=conv2d_reference.conv2d, anything="padding")
def conv2d(x):
    yield call(x(2, 4, 5, 6), x(6, 4, 3, 3), x(6))
    yield call(x(2, 4, 5, 6), x(6, 2, 3, 2), x(6), stride=(2, 1), padding=1, groups=2)
    yield call(x(1, 3, 7, 7), x(2, 3, 2, 3), padding="same", dilation=(1, 2))
    yield call(x(2, 4, 5, 5), x(4, 1, 3, 3), padding=1, groups=4)
    yield call(x(2, 1, 6, 7), x(17, 1, 3, 3), x(17), padding=1)  # one channel: taps share a tile
    yield call(x(2, 5, 4, 4), x(10, 1, 3, 3), x(10), groups=5)  # two outputs for each input channel
    yield call(x(1, 2, 5, 5), x(3, 2, 1, 1), x(3), stride=[3], padding=(2,))  # some see padding only
    yield call(x(1, 3, 4, 4), x(9, 3, 7, 7), x(9), padding=3)  # no pixel has all taps
    yield call(x(2, x.n, 5, 6), x(x.n, 1, 3, 3), x(x.n), stride=2, padding=1, groups=x.n)
    yield call(x(1, x.n, 3, 4), x(3, x.n, 2, 3), x(3), padding=1)
    yield call(x(1, 3, 3, x.n), x(5, 3, 3, 3), x(5), padding=1)
    yield call(x(1, 3, 3, 4), x(x.n, 3, 3, 2), x(x.n))
    yield call(x(2, 4, 9, 8), x(8, 4, 3, 2), x(8), stride=(2, 3), padding=(2, 0))
    yield call(x(2, 4, 9, 8), x(8, 1, 3, 2), stride=2, padding=(2, 0), dilation=2, groups=4)
    yield call(x(0, 4, 5, 6), x(6, 4, 1, 1))
    yield any_convolution(x, 2)
    yield call(x(3, 5, 6), x(4, 3, 2, 2))
    images, weight = x(1, 3, 5, 5), x(4, 3, 3, 3)
    for text, settings in (
        ("stride 0; expected at least 1 and at most", {"stride": 0}),
        ("stride (1, 2, 3); expected an integer or a pair", {"stride": (1, 2, 3)}),
        ("padding -1; expected at least 0", {"padding": -1}),
        ("padding 'full'; expected 'same', 'valid', an integer", {"padding": "full"}),
        ("padding 'same' and stride 2; expected stride 1", {"padding": "same", "stride": 2}),
        ("dilation 1099511627776; expected at least 1 and at most 2147483647", {"dilation": 2**40}),
        ("a kernel that reaches over 9 pixels along h and a padded input of 5; expected", {"dilation": 4}),
        ("x with 3 channels and groups 2; expected channels divisible", {"groups": 2}),
        ("x with 3 channels and weight for 9; expected weight of shape (K, 1, R, S)", {"groups": 3}),
        ("groups 0; expected at least 1", {"groups": 0}),
        ("bias of shape (3,); expected (4,)", {"bias": x(3)}),
    ):
        yield refused(ValueError, f"[conv2d] got {text}", images, weight, **settings)
    for text, shape, of_weight in (
        ("x of shape (5, 5); expected 4 dimensions (n, c, h, w)", (5, 5), (4, 3, 3, 3)),
        ("weight of shape (4, 3, 3); expected 4 dimensions", (1, 3, 5, 5), (4, 3, 3)),
        ("x with 3 channels and weight for 4; expected weight of shape ", (1, 3, 5, 5), (4, 4, 3, 3)),
        ("weight of shape (4, 3, 0, 3); expected a kernel of at least", (1, 3, 5, 5), (4, 3, 0, 3)),
        ("a kernel that reaches over 3 pixels along w and a padded input of 2", (1, 3, 5, 2), (4, 3, 3, 3)),
    ):
        yield refused(ValueError, f"[conv2d] got {text}", x(*shape), x(*of_weight))
    text = "[conv2d] got stride 1.5; expected an integer or a pair"
    yield refused(TypeError, text, images, weight, stride=1.5)
    text = "[conv2d] got x of dtype int64; expected float"
    yield refused(TypeError, text, x.integers(0, 9, 1, 3, 5, 5), weight)


def any_transposed(x, axes):
    taps = [x.size(1, 3) for _ in range(axes)]
    settings = any_settings(x, axes, ("stride", "dilation"))
    steps = [*zip(settings["stride"], settings["dilation"], strict=True)]
    settings["output_padding"] = tuple(x.size(0, max(pair) - 1) for pair in steps)
    settings["padding"] = tuple(
        x.size(0, min(2, d * (tap - 1) // 2)) for (_, d), tap in zip(steps, taps, strict=True)
    )
    groups, each, k = settings["groups"], x.size(1, 19), x.size(1, 19)
    sizes = [x.size(1, 9) for _ in range(axes)]
    images, weight = x(x.size(1, 3), groups * each, *sizes), x(groups * each, k, *taps)
    return call(images, weight, x(groups * k), **of_axes(axes, settings))


scattered = partial(convolution, terms=stamps, lacks="C jet promotion", apart="NaN infinity infinities")


@scattered(reference=conv2d_reference.conv_transpose1d)
def conv_transpose1d(x):
    yield call(x(2, 4, 7), x(4, 3, 3), x(3))
    yield call(x(2, 4, 7), x(4, 2, 3), x(4), stride=2, padding=1, output_padding=1, groups=2)
    yield call(x(2, x.n, 4), x(x.n, 2, 3), x(2), padding=1)
    yield call(x(0, 4, 7), x(4, 3, 3), x(3))
    yield any_transposed(x, 1)
    yield call(x(3, 5), x(3, 2, 2))
    text = "[conv_transpose1d] got x with 3 channels and weight for 4"
    yield refused(ValueError, text, x(1, 3, 5), x(4, 3, 3))
    text = "got x of shape (5, 1, 3, 5); expected 3 dimensions (n, c, l)"
    yield refused(ValueError, text, x(5, 1, 3, 5), x(3, 4, 3))


@scattered(reference=conv2d_reference.conv_transpose2d)
def conv_transpose2d(x):
    yield call(x(2, 4, 3, 4), x(4, 3, 3, 2), x(3))
    yield call(x(2, 4, 3, 4), x(4, 2, 3, 3), stride=2, padding=1, output_padding=1, groups=2)
    settings = {"stride": (2, 1), "padding": (1, 0), "output_padding": (1, 0), "dilation": (1, 2)}
    yield call(x(1, x.n, 3, 2), x(x.n, 5, 3, 2), x(5), **settings)
    yield call(x(1, 5, 3, 2), x(5, x.n, 3, 2), x(x.n), **settings)
    yield call(x(1, 2, 3, 3), x(2, 2, 2, 2), dilation=2)
    yield call(x(1, 17, 3, 4), x(17, 9, 4, 4), x(9), stride=2, padding=1)  # a decoder's
    yield call(x(1, 2, 3, 3), x(2, 5, 1, 1), x(5), stride=(3, 2))  # nothing lands on some pixels
    yield call(x(2, x.n, 3, 4), x(x.n, 1, 3, 3), x(x.n), stride=2, padding=1, groups=x.n)
    yield call(x(1, 3, 3, 2), x(3, x.n, 2, 2), x(x.n))
    yield call(x(1, 2, 2, x.n), x(2, 3, 2, 2), x(3), stride=2)
    yield any_transposed(x, 2)
    yield call(x(3, 4, 5), x(3, 2, 2, 2))
    images, weight = x(1, 3, 5, 5), x(3, 4, 3, 3)
    for error, text, settings in (
        (ValueError, "stride 0; expected at least 1", {"stride": 0}),
        (TypeError, "padding 'same'; expected an integer or a pair", {"padding": "same"}),
        (ValueError, "padding (1, 2, 3); expected an integer or a pair", {"padding": (1, 2, 3)}),
        (ValueError, "output_padding 1 for stride 1 and dilation 1; expected less", {"output_padding": 1}),
        (ValueError, "a size of 5 along h, from which an output of -1 would come", {"padding": 4}),
        (ValueError, "x with 3 channels and groups 2; expected channels divisible", {"groups": 2}),
        (ValueError, "bias of shape (3,); expected (4,)", {"bias": x(3)}),
    ):
        yield refused(error, f"[conv_transpose2d] got {text}", images, weight, **settings)
    yield refused(ValueError, "expected weight of shape (3, K / groups, R, S)", images, x(4, 3, 3, 3))


@op(lacks="C")
def unfold(x):
    yield call(x(2, 3, 5, 6), 3)
    yield call(x(2, 3, 5, 6), (3, 2), dilation=2, padding=1, stride=(1, 2))


@op(lacks="C")
def fold(x):
    yield call(x(2, 12, 9), (4, 5), (2, 3))
    yield call(x(2, 18, 9), 7, 3, dilation=2, padding=1, stride=2)


@convolution(lacks="jet promotion")
def Conv1d(x):
    yield call(nn.Conv1d(4, 6, 3), sequences(x))
    yield call(nn.Conv1d(4, 6, 3, 2, 1, 2, 2, False), sequences(x))


@convolution(lacks="jet rounding promotion")
def Conv2d(x):
    yield call(nn.Conv2d(4, 6, 3), images(x))
    yield call(nn.Conv2d(4, 8, (3, 2), stride=(1, 2), padding=1, groups=4), images(x))
    yield call(nn.Conv2d(4, 6, 3, padding="same", dilation=2, bias=False), images(x))
    yield call(nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect"), images(x))
    yield call(nn.Conv2d(4, 6, (3, 2), (2, 1), "valid", (1, 2), 2, bias=False), images(x))
    yield refused(ValueError, "[conv2d] got", nn.Conv2d(4, 6, 3), x(2, 3, 8, 8))


@convolution(lacks="C jet promotion")
def ConvTranspose1d(x):
    yield call(nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1), sequences(x))


@convolution(lacks="C jet promotion")
def ConvTranspose2d(x):
    yield call(nn.ConvTranspose2d(4, 6, 3), images(x))
    yield call(nn.ConvTranspose2d(4, 6, (3, 2), stride=2, padding=1, output_padding=1, groups=2), images(x))


@op(lacks="C")
def Unfold(x):
    yield call(nn.Unfold(3), images(x))
    yield call(nn.Unfold((3, 2), dilation=2, padding=1, stride=(1, 2)), images(x))


@op(lacks="C")
def Fold(x):
    yield call(nn.Fold((4, 5), (2, 3)), x(2, 12, 9))
    yield call(nn.Fold(7, 3, dilation=2, padding=1, stride=2), x(2, 18, 9))
