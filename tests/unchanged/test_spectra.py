"""Complex numbers of unchanged programs, as pairs beside NumPy's arrays; windows."""

import copy
import functools
import importlib
import operator
import pickle
import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier.ops.attach import Later
from ranvier.torch import IN_PLACE
from ranvier.torch.functions import spectra, windows
from ranvier.torch.installation import names
from ranvier.torch.tensors import pair_functions as pairs
from support.python import in_mode
from support.refused import refused

RNG = np.random.default_rng(0)
A, B = (RNG.standard_normal((3, 4)) + 1j * RNG.standard_normal((3, 4)) for _ in range(2))
R = RNG.random((3, 4)) + 0.5
MASK = R > 1


@pytest.fixture(scope="module")
def torch():
    sys.meta_path.insert(0, IN_PLACE)
    yield importlib.import_module("torch")
    sys.meta_path.remove(IN_PLACE)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("torch", "torchvision")]:
        del sys.modules[name]


def given(x):
    if isinstance(x, np.ndarray) and x.dtype.kind == "c":
        return pairs.complex_of(rv.tensor(x.real.copy()), rv.tensor(x.imag.copy()))
    return rv.tensor(x) if isinstance(x, np.ndarray) else x


def paired(x):
    """The same on one memory, as a transform makes it."""
    return pairs.view_as_complex(rv.tensor(np.stack([x.real, x.imag], -1)))


OPERATORS = [
    (operator.add, A, B),
    (operator.add, A, R),
    (operator.add, R, A),
    (operator.add, A, 2.0),
    (operator.add, 1j, A),
    (operator.sub, A, B),
    (operator.sub, R, A),
    (operator.sub, 1.0, A),
    (operator.mul, A, B),
    (operator.mul, R, A),
    (operator.mul, A, 3),
    (operator.mul, A, 2 - 1j),
    (operator.truediv, A, B),
    (operator.truediv, A, R),
    (operator.truediv, R, A),
    (operator.truediv, 1, A),
    (operator.truediv, A, 2j),
    (operator.truediv, 1j, A),
    (operator.pow, A, 1),
    (operator.pow, A, 3),
    (operator.matmul, A, B.T.copy()),
    (operator.matmul, R, B.T.copy()),
    (operator.matmul, A, R.T.copy()),
    (operator.eq, A, B),
    (operator.ne, A, A),
]


@pytest.mark.parametrize(("function", "a", "b"), OPERATORS)
def test_arithmetic(function, a, b):
    found, want = function(given(a), given(b)), function(a, b)
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-12)
    if function in (operator.add, operator.mul, operator.sub, operator.truediv) and a is A:
        x = given(a)
        assert getattr(operator, f"i{function.__name__}")(x, given(b)) is x
        np.testing.assert_allclose(x.numpy(), want, rtol=1e-12)


PARTS = {
    "abs": np.abs,
    "angle": np.angle,
    "conj": np.conj,
    "exp": np.exp,
    "log": np.log,
    "square": np.square,
    "sgn": lambda z: z / np.abs(z),
    "reciprocal": lambda z: 1 / z,
    "__neg__": np.negative,
    "__abs__": np.abs,
    "tolist": lambda z: z,
}


@pytest.mark.parametrize("name", PARTS)
def test_parts(name):
    for z in (given(A), paired(A)):
        np.testing.assert_allclose(np.asarray(getattr(z, name)()), PARTS[name](A), rtol=1e-12)
    assert (z.shape, z.ndim, z.dim(), z.numel(), len(z), z.size(1)) == ((3, 4), 2, 2, 12, 3, 4)
    assert (z.dtype, z.is_complex(), z.is_floating_point()) == (rv.complex128, True, False)
    assert z.to(rv.complex64).dtype == pairs.cfloat(rv.ones(1)).dtype == rv.complex64


FUNCTIONS = {
    "abs": (lambda t, z: t.abs(z), np.abs(A)),
    "cat": (lambda t, z: t.cat([z, z], 1), np.concatenate([A, A], 1)),
    "stack": (lambda t, z: t.stack([t.zeros(3, 4).double(), z]), np.stack([0 * A, A])),
    "where": (lambda t, z: t.where(t.tensor(MASK), z, t.zeros_like(z)), np.where(MASK, A, 0)),
    "real": (lambda t, z: t.real(z), A.real),
    "imag": (lambda t, z: t.imag(z), A.imag),
    "conj": (lambda t, z: t.conj(z).resolve_conj(), A.conj()),
    "angle": (lambda t, z: t.angle(z), np.angle(A)),
    "negative": (lambda t, z: t.angle(t.tensor([-1.0, 2.0])), [np.pi, 0]),
    "polar": (lambda t, z: t.polar(t.abs(z), t.angle(z)), A),
    "complex": (lambda t, z: t.complex(z.real, z.imag), A),
    "pairs": (lambda t, z: t.view_as_complex(t.view_as_real(z)), A),
    "sum": (lambda t, z: t.sum(z, dim=0), A.sum(0)),
    "mul": (lambda t, z: t.mul(z, z), A * A),
    "einsum": (lambda t, z: t.einsum("ij,kj->ik", z, z), A @ A.T),
    "norm": (lambda t, z: t.linalg.norm(z), np.linalg.norm(A)),
    "isfinite": (lambda t, z: t.isfinite(z), np.isfinite(A)),
    "pad": (lambda t, z: t.nn.functional.pad(z, (1, 0)), np.pad(A, [(0, 0), (1, 0)])),
    "is_complex": (lambda t, z: t.tensor([t.is_complex(z), t.is_complex(z.real)]), [True, False]),
    "fft": (lambda t, z: t.fft.fft(z, dim=0), np.fft.fft(A, axis=0)),
    "real fft": (lambda t, z: t.fft.fft(z.real), np.fft.fft(A.real)),
    "whole fft": (lambda t, z: t.fft.fft(t.arange(4)), np.fft.fft(np.arange(4))),
    "ifft2": (lambda t, z: t.fft.ifft2(z).real, np.fft.ifft2(A).real),
    "irfft": (lambda t, z: t.fft.irfft(t.fft.rfft(z.real) * 2, n=4), 2 * A.real),
    "fftshift": (lambda t, z: t.fft.fftshift(z, dim=-1), np.fft.fftshift(A, -1)),
    "istft": (
        lambda t, z: t.istft(t.stft(z.real, 2, 1, return_complex=True) * 2, 2, 1, length=4),
        2 * A.real,
    ),
    "zeros": (lambda t, z: t.zeros(2, 3, dtype=t.complex64), np.zeros((2, 3))),
    "full": (lambda t, z: t.full((2,), 3.0, dtype=t.complex128), [3, 3]),
    "full of a complex number": (lambda t, z: t.full((2,), 1 + 2j), [1 + 2j] * 2),
    "isreal": (lambda t, z: t.isreal(t.tensor([1.0, 2j])), [True, False]),
    "a copy": (lambda t, z: [t.complex(x := t.ones(1), x), x.zero_()][0].mul_(1j), [-1 + 1j]),
    "a copy of one part": (lambda t, z: [pairs.cfloat(x := t.ones(1)).mul_(2), x][1], [1]),
    "ones_like": (lambda t, z: t.ones_like(z.real, dtype=t.cfloat), np.ones((3, 4))),
    "tensor": (lambda t, z: t.tensor([1j, 2]) + t.from_numpy(A[0, :2]), [1j, 2] + A[0, :2]),
    "number": (lambda t, z: t.tensor(0.0, dtype=t.complex64), 0),
    "rand": (lambda t, z: 0 * t.rand(2, dtype=t.cfloat) + t.randn((2,), dtype=t.cfloat) * 0, [0, 0]),
    "stft": (lambda t, z: t.stft(z.real, 2, 1, return_complex=False), None),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, torch):
    function, want = FUNCTIONS[name]
    if want is None:
        want = rv.stft(rv.tensor(A.real), 2, 1).numpy()
    np.testing.assert_allclose(function(torch, given(A)).numpy(), want, rtol=1e-6, atol=1e-6)


def test_gradients():
    x = rv.tensor(R, requires_grad=True)

    def spectrum(x):
        z = spectra.rfft(x) * given(A[:, :3]) / (spectra.rfft(x * x) + 2.0)
        return z.abs().sum() + spectra.irfft(pairs.polar(z.abs(), z.angle()), n=4).square().sum()

    assert rv.autograd.gradcheck(spectrum, (x,))
    zero = rv.zeros(4, requires_grad=True)
    spectra.rfft(zero).abs().sum().backward()
    assert not zero.grad.any()


REFUSED = [
    (TypeError, "[torch.sort] got complex numbers", lambda t, z: t.sort(z)),
    (AttributeError, "without it; z.real and z.imag", lambda t, z: z.sort()),
    (NotImplementedError, "[pow] got a power 0.5", lambda t, z: z**0.5),
    (TypeError, "[to] got torch.float32", lambda t, z: z.to(rv.float32)),
    (RuntimeError, "[stft] got return_complex=None", lambda t, z: t.stft(z.real, 2)),
    (RuntimeError, "[istft] got a real tensor", lambda t, z: t.istft(z.real, 4)),
    (RuntimeError, "[imag] got a real tensor", lambda t, z: t.imag(z.real)),
    (RuntimeError, "[view_as_real] got Tensor", lambda t, z: t.view_as_real(z.real)),
    (
        RuntimeError,
        "what view() gave of a tensor that is not contiguous",
        lambda t, z: z.t().view(-1).zero_(),
    ),
    (RuntimeError, "[view_as_complex] got shape (3, 4)", lambda t, z: t.view_as_complex(z.real)),
    (RuntimeError, "expected both float32 or both float64", lambda t, z: t.complex(z.real, z.imag.float())),
    (TypeError, "[arange] got dtype complex64", lambda t, z: t.arange(2, dtype=t.complex64)),
    (TypeError, "[rfft] got Complex", lambda t, z: t.fft.rfft(z)),
]


@pytest.mark.parametrize(("error", "text", "call"), REFUSED)
def test_refused(error, text, call, torch):
    refused(error, text, call, torch, given(A))


def _real(z, x):
    z.real = x


def _imag(z, x):
    z.imag = x


VIEWS = {
    "itself": (lambda z: z, lambda a: a),
    "index": (lambda z: z[1:, ::2], lambda a: a[1:, ::2]),
    "transpose": (lambda z: z.transpose(0, 1), lambda a: a.T),
    "T": (lambda z: z.T, lambda a: a.T),
    "permute": (lambda z: z.permute(1, 0), lambda a: a.T),
    "reshape": (lambda z: z.reshape(-1), lambda a: a.reshape(-1)),
    "view": (lambda z: z.view(2, 6), lambda a: a.reshape(2, 6)),
    "unsqueeze": (lambda z: z.unsqueeze(-1), lambda a: a[..., None]),
    "select": (lambda z: z.select(-1, 1), lambda a: a[:, 1]),
    "narrow": (lambda z: z.narrow(0, 1, 2), lambda a: a[1:3]),
    "unbind": (lambda z: z.unbind(1)[2], lambda a: a[:, 2]),
    "split": (lambda z: z.split(3, -1)[0], lambda a: a[:, :3]),
    "diagonal": (lambda z: z.diagonal(), lambda a: np.einsum("ii->i", a[:, :3])),
    "unfold": (lambda z: z.unfold(1, 2, 2), lambda a: a.reshape(3, 2, 2)),
    "detach": (lambda z: z.detach(), lambda a: a),
    "contiguous": (lambda z: z.contiguous(), lambda a: a),
    "to": (lambda z: z.to(z.dtype), lambda a: a),
}
CHANGES = {
    "real": (lambda z: _real(z, 2.0), lambda a: _real(a, 2.0)),
    "imag": (lambda z: _imag(z, z.real), lambda a: _imag(a, a.real)),
    "real in place": (lambda z: z.real.mul_(3), lambda a: a.real.__imul__(3)),
    "item of imag": (lambda z: z.imag.__setitem__(0, 5.0), lambda a: a.imag.__setitem__(0, 5.0)),
    "pairs": (lambda z: pairs.view_as_real(z).zero_(), lambda a: a.__imul__(0)),
    "array": (lambda z: z.numpy().__setitem__(0, 2 - 1j), lambda a: a.__setitem__(0, 2 - 1j)),
    "column": (
        lambda z: z.__setitem__((..., 0), z[..., -1] * 2),
        lambda a: a.__setitem__((..., 0), a[..., -1] * 2),
    ),
    "item": (lambda z: z.__setitem__(0, z[-1] * 2j), lambda a: a.__setitem__(0, a[-1] * 2j)),
    "number": (lambda z: z.fill_(1 + 2j), lambda a: a.__setitem__(..., 1 + 2j)),
    "product": (lambda z: z.__imul__(1j), lambda a: a.__imul__(1j)),
    "sum": (lambda z: z.add_(z, alpha=2), lambda a: a.__iadd__(2 * a)),
    "conjugate": (lambda z: z.conj().__iadd__(1 + 1j), lambda a: a.__iadd__(1 - 1j)),
    "imag of a conjugate": (lambda z: _imag(z.conj(), 4.0), lambda a: _imag(a, -4.0)),
}
MADE = {
    "pairs": paired,
    "parts": given,
    "product": lambda a: given(a / 2) * 2,
    "copy": lambda a: given(a).clone(),
    "transform": lambda a: spectra.fft2(given(np.fft.ifft2(a))),
    "deepcopy": lambda a: copy.deepcopy(given(a)),
    "pickle": lambda a: pickle.loads(pickle.dumps(given(a))),
}


OF_SHAPES = VIEWS | {
    "range": (lambda z: z[..., :-1], lambda a: a[..., :-1]),
    "all": (lambda z: z[...], lambda a: a),
    "new": (lambda z: z[:, None, ::2], lambda a: a[:, None, ::2]),
    "mask": (lambda z: z[MASK], lambda a: a[MASK]),
    "H": (lambda z: z.mH.resolve_conj(), lambda a: a.T.conj()),
    "sum": (lambda z: z.sum(-1), lambda a: a.sum(-1)),
    "mean": (lambda z: z.mean(dim=(0, 1), keepdim=True), lambda a: a.mean((0, 1), keepdims=True)),
    "iterated": (lambda z: list(z)[2], lambda a: a[2]),
    "flip": (lambda z: z.flip(0), lambda a: a[::-1]),
    "expand": (lambda z: z[:1].expand_as(z), lambda a: np.broadcast_to(a[:1], a.shape)),
}


@pytest.mark.parametrize("name", OF_SHAPES)
def test_shapes(name):
    ours, numpys = OF_SHAPES[name]
    for z in (given(A), paired(A)):
        np.testing.assert_allclose(ours(z).numpy(), numpys(A), rtol=1e-12)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("view", VIEWS)
def test_all_that_shows_numbers_is_their_memory(view, change):
    for make in MADE.values():
        array = A.copy()
        z = make(array)
        real, conjugate, seen = z.real, z.conj(), z.numpy()
        CHANGES[change][0](VIEWS[view][0](z))
        CHANGES[change][1](VIEWS[view][1](array))
        close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)
        close(z.numpy(), array)
        close(seen, array)
        close(real.numpy(), array.real)
        close(np.asarray(conjugate), array.conj())
        close(z.abs().numpy(), np.abs(array))
        close(spectra.irfft(z, 6).numpy(), np.fft.irfft(array, 6))


@pytest.mark.parametrize("view", VIEWS)
def test_gradients_of_parts_that_are_assigned(view):
    """Beside the same on pairs."""
    x, y = (rv.tensor(RNG.standard_normal((3, 4, 2)), requires_grad=True) for _ in range(2))
    z = pairs.view_as_complex(x * 1)
    seen = VIEWS[view][0](z)
    z.real = y[..., 0] * z.imag.clone()
    seen.imag.mul_(2) if view != "detach" else None
    found = rv.autograd.grad((seen * seen).imag.sum() + z.abs().square().sum(), (x, y))
    q = rv.stack([y[..., 0] * x[..., 1], x[..., 1]], -1)
    factor = np.ones((3, 4))
    if view != "detach":
        VIEWS[view][1](factor)[...] = 2
    q = q * rv.tensor(np.stack([np.ones((3, 4)), factor], -1))
    again = VIEWS[view][0](pairs.view_as_complex(q))
    want = rv.autograd.grad((again * again).imag.sum() + q.square().sum(), (x, y))
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_what_a_conjugate_cannot_show_is_refused():
    z = paired(A).conj()
    assert (z.is_conj(), z.conj().is_conj(), z.resolve_conj().is_conj()) == (True, False, False)
    refused(RuntimeError, "[view_as_real] got a conjugate", pairs.view_as_real, z)
    refused(RuntimeError, "[numpy] got a conjugate", z.numpy)
    refused(ValueError, "[zero_] got a tensor on read-only memory", z.imag.zero_)
    taped = pairs.view_as_complex(rv.ones(2, 2, requires_grad=True) * 1).conj()
    refused(ValueError, "[mul_] got a tensor on read-only memory", taped.imag.mul_, 2)
    refused(RuntimeError, "[view_as_complex] got pairs 2 elements", pairs.view_as_complex, rv.ones(2, 2).t())


# In a process of its own: functions ask the classes of all arguments once there is a sparse tensor.
SPARSE_PLACES = """
import torch as rv
from ranvier.torch.tensors.sparse import sparse_coo_tensor, to_sparse

def refused(kind, text, call, *args):
    try:
        call(*args)
    except kind as error:
        assert text in str(error), error
    else:
        raise AssertionError(text)

x = rv.tensor([[0, 5, 0], [7, 0, 1]])
sparse = to_sparse(x)
assert sparse.indices().tolist() == [[0, 1, 1], [1, 0, 2]]
assert sparse.values().tolist() == [5, 7, 1]
assert (sparse.is_sparse, sparse._nnz(), sparse.coalesce() is sparse) == (True, 3, True)
assert (sparse.to_dense().tolist(), type(sparse.to_dense())) == (x.tolist(), rv.Tensor)
refused(NotImplementedError, "[to_sparse] got (1,)", to_sparse, x, 1)
added = sparse_coo_tensor([[0, 1, 1], [0, 2, 2]], rv.tensor([1.0, 2.0, 3.0]), (2, 4))
assert (added.tolist(), added._nnz()) == ([[1, 0, 0, 0], [0, 0, 5, 0]], 2)
assert sparse_coo_tensor([[2]], [[1, 2]]).tolist() == [[0, 0], [0, 0], [1, 2]]
assert sparse_coo_tensor(rv.ones(2, 0).long(), rv.ones(0)).shape == (0, 0)
text = "[sparse_coo_tensor] got indices (1, 2)"
refused(RuntimeError, text, sparse_coo_tensor, [[0, -1]], [1, 2])

values = rv.tensor([1.0, 2.0, 4.0], requires_grad=True)
sparse = sparse_coo_tensor([[0, 1, 1], [1, 0, 0]], values, (2, 3))
assert sparse.tolist() == [[0.0, 1.0, 0.0], [6.0, 0.0, 0.0]]
(sparse @ rv.tensor([[3.0], [1.0], [1.0]])).sum().backward()
assert (sparse.is_sparse, values.grad.tolist()) == (True, [1.0, 3.0, 3.0])
assert sparse_coo_tensor([[2]], rv.ones(1, 4), dtype=rv.float64).shape == (3, 4)
leaf = sparse_coo_tensor([[0]], [1.0], requires_grad=True)
assert leaf.is_leaf and leaf.requires_grad

values = rv.tensor([0.0, 2.0, 0.0], requires_grad=True)
x = sparse_coo_tensor([[0, 1, 1], [1, 0, 1]], values, (2, 2)).coalesce()
assert (x._nnz(), x.values().tolist(), x.indices().tolist()) == (3, [0, 2, 0], [[0, 1, 1], [1, 0, 1]])
(x.values() * rv.tensor([1.0, 2.0, 3.0])).sum().backward()
assert values.grad.tolist() == [1, 2, 3]
rows = sparse_coo_tensor([[0, 2]], [[0.0, 0.0], [1.0, 0.0]], (3, 2))
assert (rows._nnz(), rows.sparse_dim(), rows.dense_dim(), rows.values().shape) == (2, 1, 1, (2, 2))
print("as it should be")
"""


def test_sparse_tensors_are_dense_and_tell_their_places():
    assert in_mode(SPARSE_PLACES).strip().endswith("as it should be")


NUMBERS = [np.float64(2), np.float32(-1.5), np.int64(3), np.int8(2), np.complex128(1 + 2j), np.complex64(2j)]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: type(number).__name__)
@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_numbers_of_numpy_beside_complex_numbers(op, number):
    """The result has the class, the dtype and the gradient of z."""
    a = rv.tensor([1.0, 2.0, 3.0], requires_grad=True)
    z = pairs.complex_of(a, 2 * a)
    array = np.array([1 + 2j, 2 + 4j, 3 + 6j], np.complex64)
    for given, expected in ((op(number, z), op(number, array)), (op(z, number), op(array, number))):
        assert (type(given), given.dtype, given.requires_grad) == (pairs.Complex, rv.complex64, True)
        np.testing.assert_allclose(np.asarray(given), expected, rtol=1e-6)


def test_more_shapes_and_products_of_complex_numbers():
    array = np.arange(6).reshape(2, 3) + 1j
    z = pairs.as_complex(array.astype(np.complex64))
    assert (z.stride(), z.stride(1), z.mT.stride()) == ((3, 1), 1, (1, 3))
    cases = {
        "moveaxis": (z.moveaxis(0, 1), np.moveaxis(array, 0, 1)),
        "swapdims": (z.swapdims(0, 1), array.T),
        "ravel": (z.ravel(), array.ravel()),
        "diag": (z[0].diag(), np.diag(array[0])),
        "rot90": (z.rot90(), np.rot90(array)),
        "power": (2**z, 2**array),
    }
    for name, (given, expected) in cases.items():
        np.testing.assert_allclose(np.asarray(given), expected, rtol=1e-5, err_msg=name)
    tensordot = pairs.Complex.__torch_function__(rv.tensordot, (), (z, z), {"dims": ([1], [1])})
    np.testing.assert_allclose(np.asarray(tensordot), np.tensordot(array, array, ([1], [1])), rtol=1e-6)
    assert complex(z[1, 2]) == 5 + 1j
    refused(NotImplementedError, "[pow] got -2 to complex powers", lambda: (-2) ** z)


def test_dtypes_of_results_with_complex_numbers():
    z = pairs.complex_of(rv.ones(2), rv.ones(2))
    double = rv.ones(2, dtype=rv.float64)
    assert pairs.result_type(rv.ones(2), 1j) == pairs.result_type(z, 2.0) == rv.complex64
    assert pairs.result_type(rv.arange(2), 1j) == rv.complex64
    assert pairs.result_type(double, z) == rv.complex128
    assert pairs.result_type(rv.arange(3), 1.5) == rv.float32


def test_singular_values_of_complex_numbers():
    program = """
import torch
z = torch.complex(torch.arange(6.0).reshape(2, 3), torch.ones(2, 3))
u, s, vh = torch.linalg.svd(z, full_matrices=False)
print(((u * s) @ vh - z).abs().max() < 1e-5, torch.allclose(torch.linalg.svdvals(z), s))
print(torch.asarray([1.0, 2.0], dtype=torch.complex64).dtype)
z[0, 0] = torch.nan
for function in (torch.linalg.svd, torch.linalg.svdvals):
    try:
        function(z)
    except torch.linalg.LinAlgError as error:
        print(error)
"""
    text = "got a matrix without a result; expected finite values"
    expected = f"tensor(True) True\ntorch.complex64\n[svd] {text}\n[svdvals] {text}\n"
    assert in_mode(program) == expected


SPARSE = """
import torch
s = torch.sparse_coo_tensor(torch.tensor([[0, 1, 1], [2, 0, 2]]), torch.tensor([3.0, 0.0, 5.0]), (2, 3))
t = torch.sparse_coo_tensor(torch.tensor([[0, 1], [2, 1]]), torch.tensor([-3.0, 1.0]), (2, 3))
d = torch.ones(2, 3)
one = [[0, 1, 1], [2, 0, 2]]
both = [[0, 1, 1, 1], [2, 0, 1, 2]]
turned = [[0, 2, 2], [1, 0, 1]]
sparse = {  # the result, its indices, its values
    "t": (s.t(), turned, [0, 3, 5]), "mT": (s.mT, turned, [0, 3, 5]),
    "transpose": (torch.transpose(s, 0, 1), turned, [0, 3, 5]),
    "neg": (-s, one, [-3, 0, -5]), "2 s": (2 * s, one, [6, 0, 10]), "s / 2": (s / 2, one, [1.5, 0, 2.5]),
    "s 0": (s * 0, one, [0, 0, 0]), "s d": (s * d, one, [3, 0, 5]), "s t": (s * t, [[0], [2]], [-9]),
    "clone": (s.clone(), one, [3, 0, 5]), "double": (s.double(), one, [3, 0, 5]),
    "tanh": (torch.tanh(s * 0), one, [0, 0, 0]),
    "s + t": (s + t, both, [0, 0, 1, 5]), "s - s": (s - s, one, [0, 0, 0]),
    "s[1]": (s[1], [[0, 2]], [0, 5]),
    "index_select": (s.index_select(0, torch.tensor([1])), [[0, 0], [0, 2]], [0, 5]),
    "cat": (torch.cat([s, t]), [[0, 1, 1, 2, 3], [2, 0, 2, 2, 1]], [3, 0, 5, -3, 1]),
    "stack": (torch.stack([s, s]), [[0, 0, 0, 1, 1, 1], *[row * 2 for row in one]], [3, 0, 5] * 2),
    "mm": (torch.sparse.mm(s, t.t()), [[0, 1], [0, 0]], [-9, -15]),
    "(-s).t() 2": ((-s).t() * 2, turned, [0, -6, -10]),
    "sum": (torch.sparse.sum(s, dim=0), [[0, 2]], [0, 8]), "s.sum(0)": (s.sum(0), [[0, 2]], [0, 8]),
    "keepdim": (s.sum(1, keepdim=True), [[0, 1], [0, 0]], [3, 5]),
    "isnan": (s.isnan(), one, [False] * 3), "bool": (s.bool(), one, [True, False, True]),
    "frac": (s.frac(), one, [0, 0, 0]), "nan_to_num": (s.nan_to_num(2.0), one, [3, 0, 5]),
    "arctan": (torch.arctan(s * 0), one, [0, 0, 0]), "moveaxis": (s.moveaxis(0, 1), turned, [0, 3, 5]),
    "zeros_like": (torch.zeros_like(s), [[], []], []), "zero_": (s.clone().zero_(), [[], []], []),
    "t_": (s.clone().t_(), turned, [0, 3, 5]), "transpose_": (s.clone().transpose_(0, 1), turned, [0, 3, 5]),
    "unsqueeze_": (s.clone().unsqueeze_(0), [[0, 0, 0], *one], [3, 0, 5]),
}
dense = {"s + d": s + d, "d + s": d + s, "s @ d": s @ d.t(), "exp": torch.exp(s), "sum": s.sum()}
dense["sum of all"] = torch.sparse.sum(s)
dense["mm"] = torch.sparse.mm(s, d.t())
same = lambda y, i, v: y.is_sparse and (y.indices().tolist(), y.values().tolist()) == (i, v)
wrong = [name for name, (y, i, v) in sparse.items() if not same(y, i, v)]
wrong += [name for name, y in dense.items() if y.is_sparse or type(y) is not torch.Tensor]
assert s.double().dtype == torch.float64 and s._nnz() == 3
values = torch.tensor([1.0, 2.0], requires_grad=True)
g = torch.sparse_coo_tensor(torch.tensor([[0, 1], [1, 0]]), values, (2, 2)).t() * 3
(g @ torch.tensor([[1.0], [2.0]])).sum().backward()
print(wrong, values.grad.tolist())
"""


def test_what_is_made_of_a_sparse_tensor_keeps_its_places() -> None:
    """Where PyTorch's result is sparse it is here, with elements that are 0."""
    assert in_mode(SPARSE) == "[] [3.0, 6.0]\n"


def test_methods_are_loaded_at_their_first_use(monkeypatch):
    for name, module in names.METHODS.items():
        monkeypatch.setattr(rv.Tensor, name, Later(module, name), raising=False)
        assert callable(getattr(rv.ones(2), name))
        assert vars(rv.Tensor)[name] is getattr(importlib.import_module(module), name)


# torch.hann_window and others beside NumPy's windows.


NUMPY = {
    "hann": np.hanning,
    "hamming": np.hamming,
    "blackman": np.blackman,
    "bartlett": np.bartlett,
    "kaiser": lambda n: np.kaiser(n, 12.0),
}


@pytest.mark.parametrize("n", [0, 1, 2, 7, 400])
@pytest.mark.parametrize("name", NUMPY)
def test_values(name, n):
    window = getattr(windows, f"{name}_window")
    np.testing.assert_allclose(window(n, False, dtype=rv.float64).numpy(), NUMPY[name](n), atol=1e-15)
    found = window(n, requires_grad=True)
    np.testing.assert_allclose(found.tolist(), NUMPY[name](n + (n > 1))[:n], atol=1e-7)
    assert (found.dtype, found.requires_grad) == (rv.float32, True)


# Of torch.signal.windows; their values: tests/differential/opinfo
SIGNALS = {"exponential": {"tau": 2.0}, "gaussian": {"std": 2.0}, "general_hamming": {"alpha": 0.6}}
SIGNALS |= {name: {} for name in ("cosine", "nuttall", *NUMPY)}


@pytest.mark.parametrize("name", SIGNALS)
def test_windows_of_signals(name):
    window, settings = getattr(windows, name), SIGNALS[name]
    assert [window(n, dtype=rv.float64, **settings).tolist() for n in (0, 1)] == [[], [1.0]]
    refused(RuntimeError, f"[{name}] got window_length -1", window, -1, **settings)


@pytest.mark.parametrize("name", NUMPY)
def test_refused_of_windows(name):
    window = getattr(windows, f"{name}_window")
    refused(RuntimeError, "expected a length >= 0 and floats", window, -1)
    refused(RuntimeError, "expected a length >= 0 and floats", window, 4, dtype=rv.int64)
