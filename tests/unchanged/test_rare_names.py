"""Names that few programs use: beside NumPy, and what PyTorch gives."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier.autograd import gradcheck
from ranvier.torch.devices import backends
from ranvier.torch.functions import composed, linalg, private_functions
from support.python import in_mode
from support.refused import refused

RNG = np.random.default_rng(0)


def leaf(*shape):
    return rv.tensor(RNG.standard_normal(shape), requires_grad=True)


@pytest.mark.parametrize("increasing", [False, True])
@pytest.mark.parametrize("count", [None, 0, 2, 5])
def test_powers_as_columns(count, increasing):
    x = np.array([1.0, 2.0, -3.0])
    given = linalg.falling_vander(rv.tensor(x), count, increasing)
    np.testing.assert_array_equal(given.numpy(), np.vander(x, count, increasing))


@pytest.mark.parametrize(
    ("rows", "columns", "count"), [(4, 3, 3), (4, 3, 2), (3, 3, 3), (5, 1, 1), (4, 3, 0)]
)
def test_products_of_reflectors(rows, columns, count):
    A = leaf(2, rows, columns)
    tau = leaf(2, count)
    expected = np.empty((2, rows, columns))
    for at in range(2):
        product = np.eye(rows)
        for i in range(count):
            v = np.zeros(rows)
            v[i] = 1
            v[i + 1 :] = A.detach().numpy()[at, i + 1 :, i]
            product = product @ (np.eye(rows) - tau.detach().numpy()[at, i] * np.outer(v, v))
        expected[at] = product[:, :columns]
    np.testing.assert_allclose(linalg.householder_product(A, tau).detach().numpy(), expected, atol=1e-12)
    if count:
        assert gradcheck(linalg.householder_product, (A, tau))


def test_no_reflectors_give_the_identity_and_a_gradient_of_0():
    A = rv.full((3, 2), np.nan, requires_grad=True)
    product = linalg.householder_product(A, rv.ones(0))
    product.sum().backward()
    np.testing.assert_array_equal(product.detach().numpy(), np.eye(3, 2))
    np.testing.assert_array_equal(A.grad.numpy(), np.zeros((3, 2)))


def test_reflectors_that_do_not_fit():
    text = "[householder_product] got A of shape (2, 3)"
    refused(RuntimeError, text, linalg.householder_product, rv.ones(2, 3), rv.ones(2))


@pytest.mark.parametrize("largest", [None, True, False])
@pytest.mark.parametrize("with_b", [False, True])
def test_eigenpairs_of_lobpcg(largest, with_b):
    half, other = RNG.standard_normal((2, 9, 9))
    A = half @ half.T
    B = other @ other.T + 9 * np.eye(9)
    second = rv.tensor(B) if with_b else None
    values, vectors = linalg.lobpcg(rv.tensor(A), 2, second, largest=largest)
    every = np.sort(np.linalg.eigvals(np.linalg.solve(B, A) if with_b else A).real)
    np.testing.assert_allclose(
        values.numpy(), every[:2] if largest is False else every[-1:-3:-1], rtol=1e-9, atol=1e-12
    )
    right = (B if with_b else np.eye(9)) @ vectors.numpy() * values.numpy()
    np.testing.assert_allclose(A @ vectors.numpy(), right, atol=1e-9)


def test_gradients_and_errors_of_lobpcg():
    half = leaf(6, 6)
    assert gradcheck(lambda x: linalg.lobpcg(x @ x.mT, X=rv.ones(6, 2, dtype=rv.float64))[0], (half,))
    refused(ValueError, "[lobpcg] got 4 rows for 2 eigenpairs", linalg.lobpcg, rv.eye(4), 2)


@pytest.mark.parametrize("norm_type", [1, 2, 3.0])
@pytest.mark.parametrize(("size", "stride"), [(2, None), (3, 2), (3, 1)])
def test_pools_of_powers(norm_type, size, stride):
    x = np.abs(RNG.standard_normal((2, 3, 8)))
    windows = np.lib.stride_tricks.sliding_window_view(x, size, -1)[:, :, :: stride or size]
    expected = (windows**norm_type).sum(-1) ** (1 / norm_type)
    given = composed.lp_pool1d(rv.tensor(x), norm_type, size, stride)
    np.testing.assert_allclose(given.numpy(), expected, rtol=1e-9)
    np.testing.assert_allclose(
        composed.lp_pool1d(rv.tensor(x[0]), norm_type, size, stride), expected[0], rtol=1e-9
    )


def test_volumes_with_channels_last():
    x = rv.arange(120.0).reshape(1, 2, 3, 4, 5).requires_grad_()
    last = rv.channels_last_3d
    for y in (x.contiguous(memory_format=last), x.to(memory_format=last), x.clone(memory_format=last)):
        assert (y.stride(), y.equal(x)) == ((120, 1, 40, 10, 2), True)
        assert (y.is_contiguous(), y.is_contiguous(last), y.is_contiguous(rv.channels_last)) == (
            False,
            True,
            False,
        )
        assert y.contiguous(memory_format=last) is y
    (x.contiguous(memory_format=last) * 2).sum().backward()
    assert (x.grad == 2).all()
    module = rv.nn.Module()
    module.weight = rv.nn.Parameter(rv.ones(3, 2, 2, 2, 2))
    assert module.to(memory_format=last).weight.is_contiguous(last)
    refused(ValueError, "channels_last_3d for 5", x[0].contiguous, last)


def test_gradients_of_a_dict():
    a = rv.tensor(2.0, requires_grad=True)
    b = rv.tensor(3.0, requires_grad=True)
    assert rv.autograd.grad(a * b, {"a": a, 3: b}) == {"a": 3.0, 3: 2.0}
    assert rv.autograd.grad(a * a, {"b": b}, allow_unused=True) == {"b": None}
    refused(RuntimeError, "at index 0 appears to not have been used", rv.autograd.grad, a * a, {"b": b})


def test_kernels_of_a_gpu_take_no_attention():
    x = rv.ones(1)
    params = backends.SDPAParams(x, x, x, None, 0.5, True, False)
    assert (params.query is x, params.dropout, params.is_causal, params.enable_gqa) == (
        True,
        0.5,
        True,
        False,
    )
    for name in ("can_use_flash_attention", "can_use_efficient_attention", "can_use_cudnn_attention"):
        assert getattr(backends.cuda, name)(params, True) is False


def test_seeds_of_workers():
    """What PyTorch 2.13 gives."""
    assert private_functions.generate_state(5, 1) == [3025039489, 3528014902, 3507927383, 2601490367]


def test_einsum_of_a_list_asks_for_each_operand():
    program = """
import torch
class Asked(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        print(len(args), type(args[1]).__name__)
        return super().__torch_function__(func, types, args, kwargs)
x = torch.ones(2, 2).as_subclass(Asked)
torch.einsum("ij,jk->ik", (x, x))
torch.einsum("ij,jk->ik", [x, x])
torch.einsum("ij,jk->ik", x, x)
"""
    assert in_mode(program) == "3 Asked\n" * 3


def test_private_names_that_libraries_read():
    program = """
import torch
from torch.nn.modules.conv import _ConvTransposeMixin
from torch.utils.data._utils import HAS_NUMPY
from torch.utils.data._utils.worker import _generate_state
with torch.autograd.set_multithreading_enabled(False):
    print(issubclass(_ConvTransposeMixin, torch.nn.Module), HAS_NUMPY, torch.cuda._initialized)
print(len(_generate_state(0, 1)), torch.dsmm(torch.eye(2), torch.ones(2, 1)).tolist())
"""
    assert in_mode(program) == "True True False\n4 [[1.0], [1.0]]\n"
