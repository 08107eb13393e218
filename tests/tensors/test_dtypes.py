"""Dtypes of tensors: beside NumPy's dtypes of the same name, the default dtype, and bfloat16, whose functions
are those of float32 rounded once.
"""

import copy
import pickle
import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core, nn
from ranvier.tensors.memory import BF16, HALVES
from support.halves import F16, as_half
from support.threads import in_thread
from support.training import training

NAMES = ["float16", "bfloat16", "float32", "float64", "bool"]
NAMES += ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
REFUSED = [
    "complex32",
    "complex64",
    "complex128",
    "qint8",
    "quint8",
    "qint32",
    "float8_e4m3fn",
    "float8_e5m2",
]


def numpys(name):
    return BF16 if name == "bfloat16" else np.dtype(name)


@pytest.mark.parametrize("name", NAMES)
def test_an_object_is_numpys_dtype_to_numpy(name):
    own, numpy = getattr(rv, name), numpys(name)
    assert np.dtype(own) == numpy
    assert own == numpy
    assert numpy == own
    assert own == numpy.type
    assert numpy.type == own
    assert {own: 1}[numpy] == {numpy: 1}[own] == 1
    assert {own, numpy} == {own}
    assert np.zeros(2, own).dtype == np.zeros(2).astype(own).dtype == numpy
    assert np.result_type(own, np.int8) == np.result_type(numpy, np.int8)
    assert (own.kind, own.char, own.itemsize, own.name, own.type) == (
        numpy.kind, numpy.char, numpy.itemsize, numpy.name, numpy.type,
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_there_is_one_object_for_each_dtype(name):
    own = getattr(rv, name)
    x = rv.tensor(np.zeros(2, numpys(name)))
    assert x.dtype is own
    assert isinstance(x.dtype, rv.dtype)
    assert rv.zeros(1, dtype=own).dtype is rv.dtype(name) is rv.dtype(numpys(name)) is own
    assert pickle.loads(pickle.dumps(own)) is copy.deepcopy(own) is copy.copy(own) is own
    assert str(own) == repr(own) == f"torch.{name}"
    assert own.is_floating_point == (own.kind == "f")
    assert own.is_signed == (own.kind in "if")
    assert own != rv.complex64
    assert own != None  # noqa: E711
    assert own != 3


def test_equal_types_of_c_have_one_object():
    assert rv.tensor(np.zeros(2, np.longlong)).dtype is rv.tensor(np.zeros(2, "long")).dtype is rv.int64


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(
    "call",
    [
        lambda d: rv.zeros(2, dtype=d),
        lambda d: rv.tensor([1.0], dtype=d),
        lambda d: rv.ones(2).to(d),
        lambda d: rv.empty(2, dtype=d),
        lambda d: rv.full((2,), 1.0, dtype=d),
        lambda d: rv.zeros_like(rv.ones(2), dtype=d),
    ],
)
def test_other_dtypes_can_be_named_only(name, call):
    own = getattr(rv, name)
    assert own.itemsize in (1, 2, 4, 8, 16)
    assert own.is_complex == name.startswith("complex")
    assert own.is_floating_point == ("float" in name)
    assert pickle.loads(pickle.dumps(own)) is own
    with pytest.raises(TypeError, match=rf"\[\w+\] got .*{name}"):
        call(own)


def test_real_and_complex():
    assert rv.bfloat16.to_complex() is rv.complex64
    pairs = ("float16", "complex32"), ("float32", "complex64"), ("float64", "complex128")
    for real, imaginary in ((getattr(rv, a), getattr(rv, b)) for a, b in pairs):
        assert real.to_complex() is imaginary.to_complex() is imaginary
        assert imaginary.to_real() is real.to_real() is real
    assert (rv.half, rv.double, rv.short, rv.cfloat) == (rv.float16, rv.float64, rv.int16, rv.complex64)


def test_limits():
    assert rv.finfo().dtype == "float32"
    for kind in ("float16", rv.float32, np.float64):
        own, numpy = rv.finfo(kind), np.finfo(np.dtype(kind))
        assert own.bits == numpy.bits
        for name in ("eps", "max", "min", "tiny", "smallest_normal", "resolution"):
            assert type(getattr(own, name)) is float
            assert getattr(own, name) == getattr(numpy, name)
    assert (rv.iinfo(rv.uint8).max, rv.iinfo(rv.int64).min, rv.iinfo(rv.int8).bits) == (255, -(2**63), 8)
    with pytest.raises(TypeError, match=r"\[finfo\] got torch.int64; expected a dtype of floats"):
        rv.finfo(rv.int64)
    with pytest.raises(TypeError, match=r"\[iinfo\] got torch.float32; expected a dtype of integers"):
        rv.iinfo(rv.float32)


@pytest.mark.parametrize("own", [True, False])
def test_arrays_of_bfloat16(own):
    """Arrays of this library's dtype and of that of the package ml_dtypes: their memory is taken as it is."""
    kind = BF16 if own else np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    array = np.array([1.5, -2.0, 3.0], kind)
    for x in (rv.from_numpy(array), rv.as_tensor(array), rv.tensor(array), rv.from_numpy(array[::2])):
        assert (x.dtype, x[0].item()) == (rv.bfloat16, 1.5)
    if own:
        assert pickle.loads(pickle.dumps(kind)) is copy.deepcopy(kind) is kind
        assert pickle.loads(pickle.dumps(array.astype(kind.newbyteorder()))).tolist() == [1.5, -2.0, 3.0]
        assert kind.isnative
        assert {kind, kind.newbyteorder("<" if sys.byteorder == "little" else ">")} <= HALVES
    rv.from_numpy(array)[1] = 4
    assert float(array[1]) == 4
    swapped = array.astype(kind.newbyteorder()) if own else array
    assert rv.tensor(swapped).tolist() == [1.5, 4.0, 3.0]
    x = rv.tensor([1.5]).bfloat16()
    for call in (x.numpy, lambda: x.numpy(force=True), lambda: np.asarray(x), lambda: np.sqrt(x)):
        with pytest.raises(TypeError, match=r"Got unsupported ScalarType BFloat16; .* float"):
            call()


def test_other_dtypes_of_a_package_are_refused():
    array = np.zeros(2, pytest.importorskip("ml_dtypes").float8_e5m2)
    with pytest.raises(TypeError, match=r"\[tensor\] got dtype float8"):
        rv.tensor(array)


# The default dtype: who has it, and that steps captured under another one are not replayed.


@pytest.fixture
def wide():
    rv.set_default_dtype(rv.float64)
    yield
    rv.set_default_dtype(rv.float32)


def test_how_it_is_set():
    """By a dtype or a type's name; numbers, lists, ranges and quotients of integers have it then."""
    try:
        kinds = [
            (kind, rv.float64) for kind in (rv.float64, np.float64, "torch.DoubleTensor", rv.DoubleTensor)
        ]
        for kind, wanted in [*kinds, (rv.HalfTensor, rv.float16), ("torch.BFloat16Tensor", rv.bfloat16)]:
            rv.set_default_tensor_type(kind)
            made = rv.tensor(0.5), rv.tensor([0.5, 1]), rv.rand(2), rv.tensor([1, 2]) / 2, rv.arange(2.0)
            made += rv.exp(rv.tensor(1)), rv.tensor(1) * 1.5, rv.true_divide(3, 2)
            assert {x.dtype for x in made} == {rv.get_default_dtype()} == {wanted}
            assert rv.finfo().bits == 8 * wanted.itemsize
            assert repr(made[0]) == "tensor(0.5000)"
            rv.set_default_dtype(rv.float32)
            assert rv.get_default_dtype() is rv.tensor(0.5).dtype is rv.float32
        for kind in (rv.int64, rv.complex64, rv.float8_e5m2):
            with pytest.raises(TypeError, match=r"\[set_default_dtype\] got .*; expected .*float32"):
                rv.set_default_dtype(kind)
    finally:
        rv.set_default_dtype(rv.float32)


def test_text(wide):
    assert repr(rv.zeros(1)) == "tensor([0.])"
    assert repr(rv.zeros(1).float()) == "tensor([0.], dtype=torch.float32)"


def test_it_holds_in_all_threads(wide):
    assert in_thread(rv.zeros, 1).dtype == rv.float64


def test_a_training_step_in_float64(wide):
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
    optimizer = rv.optim.Adam(model.parameters())
    x, y = rv.randn(16, 3), rv.randn(16, 1)
    step = rv.compile(training(model, optimizer, nn.functional.mse_loss), strict=True)
    losses = [step(x, y).item() for _ in range(30)]
    assert {p.dtype for p in (*model.parameters(), x)} == {rv.float64}
    assert losses[-1] < losses[0]


def test_a_trainer_in_float64(wide):
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    trainer = rv.Trainer(model, "mse", "adam")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 2))
    history = trainer.fit(x, x.sum(1, keepdims=True), epochs=5)
    assert model[0].weight.dtype is rv.float64
    assert trainer.predict(x).dtype == np.float64
    assert history["loss"][-1] < history["loss"][0]


# bfloat16 as a dtype of NumPy's arrays: what NumPy does with them, and the dtype that results have.


BFLOAT16_NAMES = [
    "negative", "absolute", "exp", "log1p", "sqrt", "tanh", "rint", "floor", "sign", "square", "reciprocal",
    "add", "subtract", "multiply", "true_divide", "maximum", "fmin", "power", "arctan2", "fmod", "hypot",
]  # fmt: skip
TESTS = ["less", "equal", "greater_equal", "not_equal", "logical_and", "isnan", "isfinite", "signbit"]
SIZES = (0, 1, 63, 64, 65, 1000)


@pytest.fixture
def arrays(rng):
    return lambda n: [(rng.standard_normal(2 * n) ** 2 + 0.1).astype(BF16)[::2] for _ in range(2)]


@pytest.mark.parametrize("name", BFLOAT16_NAMES + TESTS)
def test_a_ufunc_is_that_of_float32_rounded_once(name, arrays):
    function = getattr(np, name)
    for n in SIZES:
        given = arrays(n)[: function.nin]
        wanted = function(*(x.astype(np.float32) for x in given))
        got = function(*given)
        assert got.dtype == (bool if name in TESTS else BF16)
        wanted = wanted if name in TESTS else as_half(wanted, BF16)
        np.testing.assert_array_equal(got.astype(np.float32), wanted)


def test_several_outputs(arrays):
    x = arrays(100)[0]
    for got, wanted in zip(np.modf(x), np.modf(x.astype(np.float32)), strict=True):
        np.testing.assert_array_equal(got.astype(np.float32), as_half(wanted, BF16))
    mantissa, exponent = np.frexp(x)
    np.testing.assert_array_equal(mantissa.astype(np.float32) * 2.0**exponent, x.astype(np.float32))


def test_a_sum_is_rounded_once_and_a_running_sum_each_time(arrays):
    ones = np.ones(1000, BF16)
    assert ones.sum() == 1000
    assert np.cumsum(ones)[-1] == 256
    x = arrays(5000)[0].reshape(50, 100)
    for axis in (0, 1):
        assert np.maximum.reduce(x, axis).tolist() == x.astype(np.float32).max(axis).tolist()
    assert x.sum(1).dtype == BF16
    np.testing.assert_allclose(x.sum(1).astype(float), x.astype(float).sum(1), rtol=2**-8 + 100 * 2**-24)


def test_orders_and_places():
    x = np.array([3, np.nan, -1, 7, 7], BF16)
    assert x.argmax() == x.argmin() == 1
    assert (x[2:].argmax(), x[2:].argmin()) == (1, 0)
    assert np.sort(x)[:4].tolist() == [-1, 3, 7, 7]
    assert np.argsort(x[2:], kind="stable").tolist() == [0, 1, 2]
    assert np.nonzero(np.array([0, -0.0, 2], BF16))[0].tolist() == [2]


def test_copies_views_and_pickles(arrays):
    x = arrays(12)[0].reshape(3, 4)
    for y in (x.copy(), pickle.loads(pickle.dumps(x)), x[:, ::-1][:, ::-1], np.concatenate([x[:1], x[1:]])):
        assert y.dtype == BF16
        assert y.tolist() == x.tolist()
    assert pickle.loads(pickle.dumps(BF16)) == BF16
    x[0] = 1.00390625  # halfway: to even
    assert x[0].tolist() == [1.0] * 4
    x[1] = np.arange(4)
    assert x[1].tolist() == [0, 1, 2, 3]
    assert x[1, 3] == 3.0
    assert float(x[1, 2]) == 2.0


def test_values_of_other_dtypes():
    for kind in "?bBhHiIlLqQefdg":
        x = np.array([0, 1, 2, 0.5] if kind in "efdg" else [0, 1, 2, 0]).astype(kind)
        y = x.astype(BF16)
        assert y.tolist() == [float(v) for v in x]
        assert y.astype(kind).tolist() == x.tolist()


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        (BF16, BF16, BF16),
        (BF16, F16, "float32"),
        (BF16, "float32", "float32"),
        (BF16, "float64", "float64"),
        (BF16, "int64", BF16),
        (BF16, "bool", BF16),
        (BF16, "uint8", BF16),
    ],
    ids=str,
)
def test_promotion(a, b, wanted):
    for pair in ((a, b), (b, a)):
        kinds = [np.dtype(kind) for kind in pair]
        assert _core._result_dtype(*kinds) == wanted
        assert rv.promote_types(*kinds) == rv.dtype(np.dtype(wanted))


@pytest.mark.parametrize("value", [2e5, 1e-8, 1 / 3, -1e9, 10**30])
@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_a_number_compared_is_rounded_as_a_tensor(name, value):
    x = rv.tensor([3e5, 2e5, 2e-8, 1e-8, 1 / 3, -1e9, 10.0**30, float("inf"), float("-inf")]).bfloat16()
    compare = getattr(rv, name)
    expected = compare(x, rv.full_like(x, value)).tolist()
    assert compare(x, value).tolist() == expected
    assert rv.compile(lambda x: compare(x, value))(x).tolist() == expected
