"""Samples of `fft` and of `ops/matrix/fourier.py`."""

import numpy as np

from samples.sample import call, fixed, op


def of_pairs(x):
    """Complex numbers as pairs of the real and the imaginary part."""
    yield call(x(8, 2))
    yield call(x(3, 7, 2))
    yield call(x(3, 6, 2), 4)
    yield call(x(3, 5, 2), dim=0)


def of_signal(x):
    yield call(x(8))
    yield call(x(3, 7))
    yield call(x(3, 6), 4)
    yield call(x(3, 5), dim=0)


def as_pairs(z):
    return np.stack([z.real, z.imag], -1)


def numpys(name, complex_input):
    def reference(x, n=None, dim=-1):
        z = x[..., 0] + 1j * x[..., 1] if complex_input else x
        return as_pairs(getattr(np.fft, name)(z, n, dim))

    return reference


def terms(*args, **settings):
    return 64


for _name in ("fft", "ifft"):
    op(
        of_pairs,
        names=f"fft_{_name}",
        of=f"fft.{_name}",
        reference=numpys(_name, True),
        terms=terms,
        lacks="halves C ONNX limits",
        apart="infinity",
    )
op(
    of_signal,
    names="fft_rfft",
    of="fft.rfft",
    reference=numpys("rfft", False),
    terms=terms,
    lacks="halves C ONNX limits 0-d",
    apart="NaN infinity",
)


@op(of="fft.irfft", terms=terms, lacks="halves C ONNX")
def fft_irfft(x):
    yield call(x(5, 2))
    yield call(x(3, 5, 2), 7)


@op(
    of="fft.fft2",
    terms=terms,
    reference=lambda x: as_pairs(np.fft.fft2(x[..., 0] + 1j * x[..., 1])),
    lacks="halves C ONNX",
)
def fft_fft2(x):
    yield call(x(4, 6, 2))
    yield call(x(2, 3, 5, 2))


@op(of="fft.rfft2", terms=terms, reference=lambda x: as_pairs(np.fft.rfft2(x)), lacks="halves C ONNX limits")
def fft_rfft2(x):
    yield call(x(4, 6))
    yield call(x(2, 3, 5))


@op(of="fft.fftshift", reference=np.fft.fftshift, exact=True, lacks="0-d")
def fft_fftshift(x):
    yield call(x(7))
    yield call(x(4, 5))


@op(terms=terms, inner=1.0, lacks="halves C ONNX infinity", apart="NaN infinity")
def stft(x):
    yield call(x(2, 40), 8, window=fixed(x(8, low=0.2)), return_complex=False)
    yield call(x(40), 16, 4, center=False, return_complex=False)


@op(terms=terms, inner=1.0, lacks="halves C ONNX NaN infinity", apart="NaN infinity")
def istft(x):
    yield call(x(2, 5, 9, 2), 8, window=fixed(x(8, low=0.2)))
