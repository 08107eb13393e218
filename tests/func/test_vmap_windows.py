"""stft and istft within vmap, with a window for each slice: beside NumPy's transforms of each frame."""

import numpy as np
import pytest
import ranvier as rv
from ranvier.autograd import gradcheck
from ranvier.func import vmap

RNG = np.random.default_rng(0)
SLICES = 3
LENGTH = 24


def numbers(*shape):
    return RNG.standard_normal(shape)


def windows(n):
    return RNG.uniform(0.5, 1.5, (SLICES, n))


def spectra_of_frames(signal, window, hop):
    """The spectra (frequencies, frames, 2) of the frames of one signal, which is not padded."""
    n = len(window)
    starts = range(0, len(signal) - n + 1, hop)
    columns = [np.fft.rfft(signal[start : start + n] * window) for start in starts]
    spectra = np.stack(columns, 1)
    return np.stack([spectra.real, spectra.imag], -1)


def signal_of_spectra(spectra, window, hop):
    """The signal of frames whose spectra (frequencies, frames, 2) are given."""
    n = len(window)
    frames = spectra.shape[1]
    total = np.zeros((frames - 1) * hop + n)
    weights = np.zeros_like(total)
    for t in range(frames):
        place = slice(t * hop, t * hop + n)
        total[place] += np.fft.irfft(spectra[:, t, 0] + 1j * spectra[:, t, 1], n) * window
        weights[place] += window**2
    return total / weights


# The core computes frames of 8; NumPy those of 11, a prime.
@pytest.mark.parametrize("n", [8, 11])
@pytest.mark.parametrize("shares_signal", [False, True])
def test_stft(n, shares_signal):
    signals = numbers(SLICES, LENGTH)
    factors = windows(n)
    if shares_signal:
        signals[:] = signals[0]

    def function(x, window):
        return rv.stft(x, n, 4, window=window, center=False)

    if shares_signal:
        got = vmap(function, in_dims=(None, 0))(rv.tensor(signals[0]), rv.tensor(factors))
    else:
        got = vmap(function)(rv.tensor(signals), rv.tensor(factors))
    expected = [spectra_of_frames(signals[i], factors[i], 4) for i in range(SLICES)]
    np.testing.assert_allclose(got.numpy(), np.stack(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [8, 11])
@pytest.mark.parametrize("dim", [0, 1])
def test_istft(n, dim):
    spectra = numbers(SLICES, n // 2 + 1, 4, 2)
    factors = windows(n)

    def function(x, window):
        return rv.istft(x, n, 4, window=window, center=False)

    stacked = rv.tensor(np.ascontiguousarray(np.moveaxis(factors, 0, dim)))
    got = vmap(function, in_dims=(0, dim))(rv.tensor(spectra), stacked)
    expected = [signal_of_spectra(spectra[i], factors[i], 4) for i in range(SLICES)]
    np.testing.assert_allclose(got.numpy(), np.stack(expected), rtol=1e-12, atol=1e-12)


def test_istft_refuses_a_window_of_one_slice():
    spectra = rv.tensor(numbers(SLICES, 5, 4, 2))
    factors = windows(8)
    factors[SLICES - 1] = 0.0
    with pytest.raises(ValueError, match=r"least sum of the windows' squares is 0\.0"):
        vmap(lambda x, window: rv.istft(x, 8, 4, window=window))(spectra, rv.tensor(factors))


@pytest.mark.parametrize("needs_window", [False, True])
def test_gradients(needs_window):
    signals = rv.tensor(numbers(2, 12)).requires_grad_()
    factors = rv.tensor(windows(4)[:2]).requires_grad_(needs_window)

    def round_trip(x, window):
        spectra = rv.stft(x, 4, 2, window=window)
        return rv.istft(spectra * spectra, 4, 2, window=window)

    assert gradcheck(vmap(round_trip), (signals, factors))


def test_vmap_within_vmap():
    signals = numbers(2, SLICES, LENGTH)
    factors = windows(8)[:2]

    def of_one(x, window):
        return rv.stft(x, 8, 4, window=window, center=False)

    got = vmap(vmap(of_one, in_dims=(0, None)))(rv.tensor(signals), rv.tensor(factors))
    for i in range(2):
        for j in range(SLICES):
            expected = spectra_of_frames(signals[i, j], factors[i], 4)
            np.testing.assert_allclose(got[i, j].numpy(), expected, rtol=1e-12, atol=1e-12)
