"""Functions and calls that the mode alone has: torch.special.erfcx, linalg.eig, losses that broadcast."""

import math

import numpy as np
import pytest
import ranvier as rv
from ranvier.ops.loss.base import Shapes
from ranvier.torch.former import eig, eigvals, pca_lowrank, skip_init, svd_lowrank
from ranvier.torch.inner import gradcheck
from ranvier.torch.special import entr, erfcx
from support.refused import refused


def test_erfcx_is_the_scaled_complement():
    """Beside Python's erfc, and from 20 on beside the first terms of its series."""
    x = np.array([-3.0, -0.5, 0.0, 0.7, 3.0, 12.0])
    np.testing.assert_allclose(
        erfcx(rv.tensor(x)).numpy(), [math.exp(v * v) * math.erfc(v) for v in x], rtol=1e-13
    )
    far = np.array([19.999, 20.0, 1e3, 1e8])
    series = (1 - 0.5 / far**2 + 0.75 / far**4 - 1.875 / far**6 + 6.5625 / far**8) / (
        far * math.sqrt(math.pi)
    )
    np.testing.assert_allclose(erfcx(rv.tensor(far)).numpy(), series, rtol=1e-11)
    assert erfcx(rv.tensor([1.0])).dtype is rv.float32


def test_erfcx_has_gradients():
    rv.autograd.gradcheck(erfcx, rv.tensor([-1.0, 0.3, 5.0, 30.0], dtype=rv.float64, requires_grad=True))


def test_the_slope_of_an_entropy_at_0_is_inf():
    x = rv.tensor([0.0, -0.0, 1.0, 0.5], requires_grad=True)
    (slope,) = rv.autograd.grad(entr(x).sum(), x, create_graph=True)
    np.testing.assert_allclose(slope.tolist(), [math.inf, math.inf, -1.0, math.log(2.0) - 1.0], rtol=1e-6)
    assert entr(rv.tensor([0.0, -1.0])).tolist() == [0.0, -math.inf]


def test_eig_of_real_eigenvalues():
    a = np.random.default_rng(0).normal(size=(3, 4, 4))
    a = a @ np.diag([1.0, 2.0, 3.0, -1.0]) @ np.linalg.inv(a)
    values, vectors = eig(rv.tensor(a))
    np.testing.assert_allclose(a @ vectors.numpy(), vectors.numpy() * values.numpy()[:, None], atol=1e-10)
    np.testing.assert_array_equal(eigvals(rv.tensor(a)).numpy(), values.numpy())
    assert (values.dtype, values.imag.abs().max().item()) == (rv.complex128, 0)
    error = rv.linalg.LinAlgError
    refused(error, "[eig] got A without a result; expected finite values", eig, rv.full((2, 2), np.nan))
    turn = eig(rv.tensor([[0.0, 1.0], [-1.0, 0.0]]))
    assert sorted(turn.eigenvalues.imag.tolist()) == [-1.0, 1.0]
    np.testing.assert_allclose(
        turn.eigenvectors.real.square() + turn.eigenvectors.imag.square(), 0.5, rtol=1e-6
    )


def test_eig_refuses_what_it_cannot_give():
    refused(NotImplementedError, "[eig] got a matrix with gradients", eig, rv.eye(2).requires_grad_())
    refused(ValueError, "[eig] got A of shape (2, 3)", eig, rv.ones(2, 3))


@pytest.mark.parametrize("shape", [(7, 5), (4, 9), (2, 6, 6)])
def test_the_largest_singular_values(shape):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(*shape[:-1], 3)) @ rng.normal(size=(*shape[:-2], 3, shape[-1]))
    u, s, v = svd_lowrank(rv.tensor(a), 3)
    np.testing.assert_allclose((u * s.unsqueeze(-2) @ v.mT).numpy(), a, atol=1e-10)
    u, s, v = svd_lowrank(rv.tensor(a + 1), 3, M=rv.ones(shape[-1], dtype=rv.float64))
    np.testing.assert_allclose(s.numpy(), np.linalg.svd(a)[1][..., :3], rtol=1e-10)
    centred = a - a.mean(-2, keepdims=True)
    np.testing.assert_allclose(
        pca_lowrank(rv.tensor(a), 3).S.numpy(), np.linalg.svd(centred)[1][..., :3], atol=1e-10
    )
    assert pca_lowrank(rv.tensor(a)).V.shape == (*shape[:-2], shape[-1], min(6, *shape[-2:]))


def test_a_module_whose_values_do_not_matter_takes_no_numbers():
    rv.manual_seed(0)
    expected = rv.rand(3)
    rv.manual_seed(0)
    assert skip_init(rv.nn.Linear, 2, 3, device="cpu").weight.shape == (3, 2)
    assert rv.rand(3).equal(expected)


def test_gradcheck_has_small_steps():
    """1e-4 from a kink."""
    assert gradcheck(rv.relu, (rv.tensor([1e-4, -1e-4], dtype=rv.float64, requires_grad=True),))


def test_a_generator_has_a_device():
    assert rv.Generator("cpu").device == rv.device("cpu")


@pytest.mark.parametrize("loss", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_losses_broadcast_with_a_warning(monkeypatch, loss):
    loss = getattr(rv.nn.functional, loss)
    x, t = rv.tensor([[0.5], [2.0]], requires_grad=True), rv.tensor([1.0, 4.0, -3.0])
    refused(ValueError, "expected equal shapes", loss, x, t)
    monkeypatch.setattr(Shapes, "broadcast", True)
    with pytest.warns(UserWarning, match=r"shape \(2, 1\) and target of shape \(3,\), which are broadcast"):
        y = loss(x, t)
    y.backward()
    wide = rv.tensor([[0.5] * 3, [2.0] * 3], requires_grad=True)
    same = loss(wide, rv.tensor([[1.0, 4.0, -3.0]] * 2))
    same.backward()
    assert y.item() == same.item()
    np.testing.assert_allclose(x.grad.numpy(), wide.grad.numpy().sum(1, keepdims=True), rtol=1e-6)
    refused(ValueError, "expected equal shapes", loss, x, rv.ones(3, 2))
