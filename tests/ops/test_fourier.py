"""rv.fft, stft and istft beside their definitions, sums in float64, with all sizes and gradients."""

import itertools

import numpy as np
import pytest
import ranvier as rv
from support.refused import refused

SIZES = [(1, 1), (2, 2), (5, 5), (6, 6), (5, 8), (8, 5), (1, 4), (7, 2), (13, 13)]  # elements, n
FACTORS = {None: lambda n: 1, "forward": lambda n: 1 / n, "ortho": lambda n: n**-0.5}
RNG = np.random.default_rng(0)


def defined(z, n, sign=-1, axis=-1):
    """The sum of z_t exp(sign 2 pi i k t / n), of z in n elements."""
    z = np.moveaxis(np.asarray(z, complex), axis, -1)[..., :n]
    z = np.pad(z, [(0, 0)] * (z.ndim - 1) + [(0, n - z.shape[-1])])
    k = np.arange(n)
    return np.moveaxis(z @ np.exp(sign * 2j * np.pi * np.outer(k, k) / n), -1, axis)


def pairs(z):
    return rv.tensor(np.stack([z.real, z.imag], -1))


def numbers(x):
    x = np.asarray(x.detach())
    return x[..., 0] + 1j * x[..., 1]


def noise(*shape):
    return RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)


@pytest.mark.parametrize("norm", FACTORS)
@pytest.mark.parametrize(("m", "n"), SIZES)
def test_transforms_are_their_sums(m, n, norm):
    z = noise(2, m, 3)
    x, p, at = rv.tensor(z.real), pairs(z), {"n": n, "dim": 1, "norm": norm}
    there, back = FACTORS[norm](n), FACTORS[{None: "forward", "forward": None}.get(norm, norm)](n)
    y = defined(z, n, axis=1) * there
    np.testing.assert_allclose(numbers(rv.fft.fft(p, **at)), y, atol=1e-12)
    np.testing.assert_allclose(numbers(rv.fft.ifft(p, **at)), defined(z, n, 1, 1) * back, atol=1e-12)
    half = (defined(z.real, n, axis=1) * there)[:, : n // 2 + 1]
    np.testing.assert_allclose(numbers(rv.fft.rfft(x, **at)), half, atol=1e-12)
    full = np.zeros((2, n, 3), complex)  # irfft: the rest are conjugates, the first and n/2 are real
    k = min(n // 2 + 1, m)
    full[:, :k] = z[:, :k]
    full[:, 0], full[:, n // 2] = full[:, 0].real, full[:, n // 2] if n % 2 else full[:, n // 2].real
    for j in range(n // 2 + 1, n):
        full[:, j] = full[:, n - j].conj()
    np.testing.assert_allclose(
        np.asarray(rv.fft.irfft(p, **at)), (defined(full, n, 1, 1) * back).real, atol=1e-12
    )


@pytest.mark.parametrize(("m", "n"), SIZES)
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft"])
def test_gradients(name, m, n):
    z = noise(m, 2)
    x = (rv.tensor(z.real) if name == "rfft" else pairs(z)).requires_grad_()
    for norm in FACTORS:
        transform = lambda x, norm=norm: getattr(rv.fft, name)(x, n, 0, norm)  # noqa: E731
        assert rv.autograd.gradcheck(transform, (x,))
        assert rv.autograd.gradgradcheck(lambda x, f=transform: f(x) ** 2, (x,))


@pytest.mark.parametrize(
    ("s", "dim"), [(None, None), (None, (0, 2)), ((4, 3), None), ((3, -1), (2, 0)), (5, 1)]
)
def test_several_dimensions_are_one_after_another(s, dim):
    z = noise(4, 3, 5)
    dims = dim if s is None or dim else (1, 2)
    like = [None if v is None else np.atleast_1d(v) for v in (s, dims)]
    if s == (3, -1):
        like[0][1] = 4
    given = {"s": s, "dim": dim}
    np.testing.assert_allclose(numbers(rv.fft.fftn(pairs(z), **given)), np.fft.fftn(z, *like), atol=1e-12)
    np.testing.assert_allclose(numbers(rv.fft.ifftn(pairs(z), **given)), np.fft.ifftn(z, *like), atol=1e-12)
    x = rv.tensor(z.real)
    np.testing.assert_allclose(numbers(rv.fft.rfftn(x, **given)), np.fft.rfftn(z.real, *like), atol=1e-12)
    if s == (3, -1):
        like[0][1] = 2 * (4 - 1)
    np.testing.assert_allclose(
        np.asarray(rv.fft.irfftn(pairs(z), **given)), np.fft.irfftn(z, *like), atol=1e-12
    )
    for name in ("fft2", "ifft2"):
        np.testing.assert_allclose(
            numbers(getattr(rv.fft, name)(pairs(z))), getattr(np.fft, name)(z), atol=1e-12
        )
    np.testing.assert_allclose(numbers(rv.fft.rfft2(x)), np.fft.rfft2(z.real), atol=1e-12)
    np.testing.assert_allclose(np.asarray(rv.fft.irfft2(pairs(z))), np.fft.irfft2(z), atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_frequencies_and_shifts(n):
    np.testing.assert_allclose(rv.fft.fftfreq(n, 0.5).tolist(), np.fft.fftfreq(n, 0.5), atol=1e-7)
    np.testing.assert_allclose(rv.fft.rfftfreq(n, 0.5).tolist(), np.fft.rfftfreq(n, 0.5), atol=1e-7)
    x = np.arange(3 * n).reshape(3, n)
    for name, dim in itertools.product(("fftshift", "ifftshift"), (None, 1, (0, 1))):
        assert getattr(rv.fft, name)(rv.tensor(x), dim).tolist() == getattr(np.fft, name)(x, dim).tolist()


CASES = [  # length, n_fft, hop, win, centred, pad_mode, normalized, onesided
    (23, 8, 3, 6, True, "reflect", False, None),
    (23, 8, None, None, True, "constant", True, True),
    (24, 7, 2, 7, False, "reflect", True, False),
    (40, 13, 5, 4, True, "replicate", False, False),
    (9, 9, 1, 9, False, "reflect", False, None),
    (16, 6, 7, 5, True, "circular", False, None),
    (5, 1, 1, 1, True, "reflect", False, None),
    (5, 2, 1, 2, True, "reflect", False, False),
]


@pytest.mark.parametrize(("length", "n", "hop", "win", "center", "mode", "normalized", "onesided"), CASES)
def test_stft_is_the_transform_of_each_window(length, n, hop, win, center, mode, normalized, onesided):
    x, window = RNG.standard_normal((2, length)), RNG.random(win or n) + 0.5
    given = (n, hop, win, rv.tensor(window), center)
    y = rv.stft(rv.tensor(x), *given, mode, normalized, onesided)
    wide = np.zeros(n)
    before = (n - len(window)) // 2
    wide[before : before + len(window)] = window
    numpy_mode = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    signal = np.pad(x, [(0, 0), (n // 2, n // 2)], numpy_mode) if center else x
    hop = hop or n // 4
    frames = [signal[:, t : t + n] * wide for t in range(0, signal.shape[1] - n + 1, hop)]
    want = np.stack([defined(f, n) for f in frames], -1) * (n**-0.5 if normalized else 1)
    want = want if onesided is False else want[:, : n // 2 + 1]
    np.testing.assert_allclose(numbers(y), want, atol=1e-12)
    single = rv.stft(rv.tensor(x[1]), *given, mode, normalized, onesided)
    np.testing.assert_array_equal(single.numpy(), y[1].numpy())
    a, b = rv.tensor(x, requires_grad=True), rv.tensor(window, requires_grad=True)
    assert rv.autograd.gradcheck(
        lambda a, b: rv.stft(a, n, hop, win, b, center, mode, normalized, onesided), (a, b)
    )
    if hop >= n or win == 4:  # some elements are in no window
        return
    back = lambda y, b: rv.istft(y, n, hop, win, b, center, normalized, onesided)  # noqa: E731
    found = back(y, rv.tensor(window))
    start = 0 if center or before == 0 else before
    np.testing.assert_allclose(found.numpy(), x[:, start : start + found.shape[1]], atol=1e-12)
    assert rv.autograd.gradcheck(back, (y.detach().requires_grad_(), b))


def test_istft_has_the_length_that_is_asked_for():
    x = RNG.standard_normal(23)
    y = rv.stft(rv.tensor(x), 8, 3)
    for length in (20, 23, 30):
        found = rv.istft(y, 8, 3, length=length).numpy()
        want = np.pad(x, (0, 7))[:length]
        assert found.shape == want.shape
        np.testing.assert_allclose(found[:22], want[:22], atol=1e-12)
        assert not found[26:].any()


def test_a_compiled_step_has_them():
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


X, Z = rv.ones(6), rv.ones(6, 2)
REFUSED = [
    (ValueError, "there is no complex dtype", rv.fft.irfft, (rv.ones(3),)),
    (ValueError, "there is no complex dtype", rv.fft.fft, (rv.ones(2),)),
    (ValueError, "expected float32 or float64", rv.fft.rfft, (X.half(),)),
    (ValueError, "got 0 points", rv.fft.rfft, (X, 0)),
    (ValueError, "norm 'none'", rv.fft.fft, (Z, None, -1, "none")),
    (IndexError, "got dim 1 for 1 dimensions", rv.fft.fft, (Z, None, 1)),
    (ValueError, "one length for each", rv.fft.fft2, (rv.ones(2, 2, 2), (1,))),
    (
        ValueError,
        "there is no complex dtype",
        rv.stft,
        (X, 4, 1, 4, None, True, "reflect", False, True, True),
    ),
    (ValueError, "got a signal of shape ()", rv.stft, (X[0], 4)),
    (ValueError, "got n_fft 8 and 6 elements", rv.stft, (X, 8, 2, 8, None, False)),
    (ValueError, "[stft] got", rv.stft, (X, 20)),
    (ValueError, "hop_length 0", rv.stft, (X, 3)),
    (ValueError, "win_length 5", rv.stft, (X, 4, 1, 5)),
    (ValueError, "got a window of shape (3,); expected (4,)", rv.stft, (X, 4, 1, 4, X[:3])),
    (ValueError, "expected (B?, 3, frames, 2)", rv.istft, (rv.ones(5, 2, 2), 4)),
    (ValueError, "expected one up to the length of the window", rv.istft, (rv.ones(3, 2, 2), 4, 6)),
    (
        ValueError,
        "the least sum of the windows' squares is 0.0",
        rv.istft,
        (Z[:3, None], 4, 4, 4, rv.zeros(4)),
    ),
]


@pytest.mark.parametrize(("error", "text", "function", "arguments"), REFUSED)
def test_refused(error, text, function, arguments):
    refused(error, text, function, *arguments)
