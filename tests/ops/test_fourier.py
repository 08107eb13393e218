"""rv.fft along several dimensions beside numpy.fft, istft as the inverse of stft, long rows, windows, dtypes.
Complex numbers are pairs in a last dimension of 2; `pairs` and `numbers` go from NumPy's complex numbers to
these and back.
"""

import itertools

import numpy as np
import pytest
import ranvier as rv
from support.refused import refused

RNG = np.random.default_rng(0)


def pairs(z):
    return rv.tensor(np.stack([z.real, z.imag], -1))


def numbers(x):
    x = np.asarray(x.detach())
    return x[..., 0] + 1j * x[..., 1]


def noise(*shape):
    return RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("s", "dim", "sizes", "sizes_of_irfftn", "axes"),
    [  # our arguments, where a size of -1 is that of the input, and NumPy's for the same
        (None, None, None, None, None),
        (None, (0, 2), None, None, (0, 2)),
        ((4, 3), None, (4, 3), (4, 3), (1, 2)),
        ((3, -1), (2, 0), (3, 4), (3, 2 * (4 - 1)), (2, 0)),  # irfftn: the input has half of the frequencies
        (5, 1, (5,), (5,), (1,)),
    ],
)
def test_several_dimensions_are_one_after_another(s, dim, sizes, sizes_of_irfftn, axes):
    z = noise(4, 3, 5)
    close(numbers(rv.fft.fftn(pairs(z), s, dim)), np.fft.fftn(z, sizes, axes))
    close(numbers(rv.fft.ifftn(pairs(z), s, dim)), np.fft.ifftn(z, sizes, axes))
    close(numbers(rv.fft.rfftn(rv.tensor(z.real), s, dim)), np.fft.rfftn(z.real, sizes, axes))
    close(rv.fft.irfftn(pairs(z), s, dim).numpy(), np.fft.irfftn(z, sizes_of_irfftn, axes))


def test_two_dimensions():
    z = noise(4, 3, 5)
    close(numbers(rv.fft.ifft2(pairs(z))), np.fft.ifft2(z))
    close(rv.fft.irfft2(pairs(z)).numpy(), np.fft.irfft2(z))


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_frequencies_and_shifts(n):
    np.testing.assert_allclose(rv.fft.fftfreq(n, 0.5).tolist(), np.fft.fftfreq(n, 0.5), atol=1e-7)
    np.testing.assert_allclose(rv.fft.rfftfreq(n, 0.5).tolist(), np.fft.rfftfreq(n, 0.5), atol=1e-7)
    x = np.arange(3 * n).reshape(3, n)
    for name, dim in itertools.product(("fftshift", "ifftshift"), (None, 1, (0, 1))):
        assert getattr(rv.fft, name)(rv.tensor(x), dim).tolist() == getattr(np.fft, name)(x, dim).tolist()


@pytest.mark.parametrize(("n", "hop", "win", "center"), [(8, 3, 6, True), (8, 2, 8, False), (7, 2, 7, False)])
@pytest.mark.parametrize(("normalized", "onesided"), [(False, None), (True, False)])
def test_istft_undoes_stft(n, hop, win, center, normalized, onesided):
    x, window = RNG.standard_normal((2, 24)), rv.tensor(RNG.random(win) + 0.5)
    y = rv.stft(rv.tensor(x), n, hop, win, window, center, normalized=normalized, onesided=onesided)
    found = rv.istft(y, n, hop, win, window, center, normalized, onesided).numpy()
    np.testing.assert_allclose(found, x[:, : found.shape[1]], atol=1e-12)


def test_istft_has_the_length_that_is_asked_for():
    """stft adds half a window at both ends, a mirror image. The last of its 8 frames ends
    after 25 elements; what is asked for beyond it is zero."""
    x = RNG.standard_normal(23)
    y = rv.stft(rv.tensor(x), 8, 3)
    whole = np.concatenate([x, x[[-2, -3]], np.zeros(5)])
    for length in (20, 23, 30):
        found = rv.istft(y, 8, 3, length=length).numpy()
        assert found.shape == (length,)
        close(found, whole[:length])


def test_a_compiled_step_has_them():
    """istft undoes stft, so that the result is 2 x and the gradient of its squares 8 x."""
    window = rv.tensor(np.hanning(8).astype(np.float32))

    @rv.compile
    def step(x):
        x = x.detach().requires_grad_()
        y = rv.istft(rv.stft(x, 8, 2, window=window) * 2.0, 8, 2, window=window)
        y.square().sum().backward()
        return y, x.grad

    for seed in range(6):
        x = rv.tensor(np.random.default_rng(seed).standard_normal(40).astype(np.float32))
        y, dx = step(x)
        np.testing.assert_allclose(y.detach().numpy(), 2 * x.numpy(), atol=1e-5)
        np.testing.assert_allclose(dx.numpy(), 8 * x.numpy(), atol=1e-4)
    assert str(step.programs[0]).count(" fourier ") == 4  # kernel calls


def test_long_rows_few_and_many():
    x = RNG.standard_normal((8, 4096))
    want = np.fft.rfft(x)
    for rows in (1, 8):
        y = rv.fft.rfft(rv.tensor(x[:rows]))
        np.testing.assert_allclose(numbers(y), want[:rows], atol=1e-11)
        np.testing.assert_allclose(rv.fft.irfft(y).numpy(), x[:rows], atol=1e-14)


def test_a_window_is_as_it_was_in_backward():
    window = rv.ones(8)
    y = rv.stft(rv.ones(16, requires_grad=True), 8, 2, window=window)
    window.mul_(2)
    refused(RuntimeError, "[fourier] a variable needed for gradient computation", y.sum().backward)


@pytest.mark.parametrize("dtype", [rv.float32, rv.float64, rv.int64])
def test_dtypes(dtype):
    x = rv.tensor([1, 2, 3, 4], dtype=dtype)
    want = rv.float64 if dtype == rv.float64 else rv.float32
    assert {rv.fft.rfft(x).dtype, rv.fft.ifft(x.reshape(2, 2)).dtype} == {want}
    if dtype == rv.int64:
        refused(TypeError, "[stft] got", rv.stft, x, 2, 1)
    else:
        assert rv.stft(x, 2, 1).dtype == want
