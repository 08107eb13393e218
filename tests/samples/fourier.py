"""Samples of `fft` and of `ops/matrix/fourier.py`.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

from functools import partial

import numpy as np
from reference import fourier as reference

from samples.sample import call, fixed, op, refused

SIZES = ((1, 1), (2, 2), (6, 6), (5, 8), (8, 5), (1, 4), (7, 2), (13, 13))  # elements, n


def of_pairs(x):
    """Complex numbers as pairs of the real and the imaginary part."""
    yield call(x(8, 2))
    yield call(x(3, x.n, 2))
    for m, n in SIZES:
        yield call(x(2, m, 3, 2), n, 1)
    for norm in ("forward", "ortho"):
        yield call(x(5, 3, 2), 6, dim=0, norm=norm)
    one_number = refused(ValueError, "there is no complex dtype", x(2))
    yield one_number.without("PyTorch's tensor of it has no dimension", "error_class")
    yield refused(ValueError, "norm 'none'", x(6, 2), None, -1, "none")
    yield refused(IndexError, "got dim 1 for 1 dimensions", x(6, 2), None, 1)


def of_signal(x):
    yield call(x(8))
    yield call(x(3, x.n))
    for m, n in SIZES:
        yield call(x(2, m, 3), n, 1)
    for norm in ("forward", "ortho"):
        yield call(x(5, 3), 6, dim=0, norm=norm)
    yield refused(ValueError, "got 0 points", x(6), 0)


def terms(*args, **settings):
    return 64


transform = partial(op, terms=terms, lacks="halves ONNX limits C-infinity", apart="NaN infinity")
transform(of_pairs, names="fft_fft", of="fft.fft", reference=reference.fft)
transform(of_pairs, names="fft_ifft", of="fft.ifft", reference=reference.ifft)
_lacks = "halves ONNX limits 0-d C-infinity"
transform(of_signal, names="fft_rfft", of="fft.rfft", reference=reference.rfft, lacks=_lacks)


@transform(of="fft.irfft", reference=reference.irfft)
def fft_irfft(x):
    yield call(x(5, 2))
    yield call(x(3, x.n + 1, 2))
    for m, n in SIZES:
        yield call(x(2, m, 3, 2), n, 1)
    for norm in ("forward", "ortho"):
        yield call(x(5, 3, 2), 6, dim=0, norm=norm)
    yield refused(ValueError, "there is no complex dtype", x(3))


def of_two(transform):
    return lambda x: reference.fft(transform(x, dim=-1), dim=-2)


@op(of="fft.fft2", terms=terms, reference=of_two(reference.fft), lacks="halves ONNX limits")
def fft_fft2(x):
    yield call(x(4, 6, 2))
    yield call(x(2, 3, 5, 2))
    yield refused(ValueError, "one length for each", x(2, 2, 2), (1,))


@op(of="fft.rfft2", terms=terms, reference=of_two(reference.rfft), lacks="halves ONNX limits")
def fft_rfft2(x):
    yield call(x(4, 6))
    yield call(x(2, 3, 5))


@op(of="fft.fftshift", reference=np.fft.fftshift, exact=True, lacks="0-d")
def fft_fftshift(x):
    yield call(x(7))
    yield call(x(4, 5))


WINDOWS = (  # length, n_fft, hop, win, centred, pad_mode, normalized, onesided
    (23, 8, 3, 6, True, "reflect", False, None),
    (23, 8, None, None, True, "constant", True, True),
    (24, 7, 2, 7, False, "reflect", True, False),
    (40, 13, 5, 4, True, "replicate", False, False),
    (9, 9, 1, 9, False, "reflect", False, None),
    (16, 6, 7, 5, True, "circular", False, None),
    (5, 1, 1, 1, True, "reflect", False, None),
    (5, 2, 1, 2, True, "reflect", False, False),
)


@op(
    terms=terms,
    inner=1.0,
    reference=reference.stft,
    lacks="halves ONNX limits infinity 0-d C-infinity",
    apart="NaN infinity",
    anything="onesided",
)
def stft(x):
    yield call(x(2, 40), 8, window=fixed(x(8, low=0.2)), return_complex=False)
    yield call(x(40), 16, 4, center=False, return_complex=False)
    for length, n, hop, win, center, pad_mode, normalized, onesided in WINDOWS:
        settings = {"center": center, "pad_mode": pad_mode, "normalized": normalized, "onesided": onesided}
        yield call(x(2, length), n, hop, win, x(win or n, low=0.5), **settings, return_complex=False)
    for text, arguments in (
        ("there is no complex dtype", (4, 1, 4, None, True, "reflect", False, True, True)),
        ("got n_fft 8 and 6 elements", (8, 2, 8, None, False)),
        ("[stft] got", (20,)),
        ("hop_length 0", (3,)),
        ("win_length 5", (4, 1, 5)),
        ("got a window of shape (3,); expected (4,)", (4, 1, 4, fixed(x(3)))),
    ):
        yield refused(ValueError, text, x(6), *arguments)
    yield refused(ValueError, "got a signal of shape ()", x(), 4)


@op(
    terms=terms,
    inner=1.0,
    lacks="halves ONNX NaN infinity C-infinity",
    apart="NaN infinity",
    anything="onesided",
)
def istft(x):
    yield call(x(2, 5, 9, 2), 8, window=fixed(x(8, low=0.2)))
    yield call(x(2, 5, 9, 2), 8, 3, 6, fixed(x(6, low=0.5)), normalized=True)
    yield call(x(7, 9, 2), 7, 2, 7, fixed(x(7, low=0.5)), center=False, onesided=False)
    yield call(x(5, 9, 2), 8, length=30)
    of_window = call(x(5, 9, 2), 8, 3, 6, x(6, low=0.5))
    yield of_window.without(
        "with a gradient the window is no part of the transform", "without_node", "scales"
    )
    yield refused(ValueError, "expected (B?, 3, frames, 2)", x(5, 2, 2), 4)
    yield refused(ValueError, "expected one up to the length of the window", x(3, 2, 2), 4, 6)
    text = "the least sum of the windows' squares is 0.0"
    yield refused(ValueError, text, x(3, 1, 2), 4, 4, 4, fixed(np.zeros(4)))
