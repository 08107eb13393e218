"""dtypes: objects that are PyTorch's to a program and NumPy's to NumPy."""

import copy
import pickle
import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier.tensors.memory import BF16, HALVES

NAMES = [
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "bool",
]
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
    """Of this library's dtype, and of the package ml_dtypes, whose memory is taken as it is."""
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
