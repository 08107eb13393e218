"""Tensor: attributes, constructors, what NumPy makes of it, casts, copies, text. Expected values are
PyTorch's. add, mul, exp ... of support/functions.py are small Functions with a gradient.
"""

import copy
import math
import operator
import pickle

import numpy as np
import pytest
import ranvier as rv
from support.functions import Transpose, add, exp, mul
from support.refused import refused


def test_attributes():
    x = rv.zeros(2, 3)
    assert x.shape == x.size() == (2, 3)
    assert (x.ndim, x.dim(), x.size(1), x.numel(), len(x)) == (2, 2, 3, 6, 2)
    assert (x.device, x.is_cuda, x.is_leaf, x.grad, x.grad_fn) == ("cpu", False, True, None, None)
    assert (x.stride(), x.stride(0), x.element_size(), x.nbytes, x.itemsize) == ((3, 1), 3, 4, 24, 4)
    assert x.is_contiguous()
    assert not Transpose().apply(x).is_contiguous()
    assert x.is_floating_point()
    assert x.data_ptr() == x.numpy().ctypes.data


def test_the_constructor_makes_float32():
    assert rv.Tensor(rv.ones(2, dtype=rv.float64)).dtype == np.float32
    refused(ValueError, "[Tensor] got shape (2, -1); expected sizes >= 0", rv.Tensor, 2, -1)
    assert rv.Tensor([1.0], requires_grad=True).requires_grad


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        *[("Tensor", rv.float32), ("FloatTensor", rv.float32), ("DoubleTensor", rv.float64)],
        *[("LongTensor", rv.int64), ("IntTensor", rv.int32), ("BoolTensor", rv.bool)],
    ],
)
def test_a_constructor_takes_a_shape_or_data(kind, dtype):
    make = getattr(rv, kind)
    assert (make().shape, make().dtype, make([1.0]).dtype) == ((0,), dtype, dtype)
    for shape in ((2, 3), (5,), (0, 2), (np.int64(4), 1)):
        assert make(*shape).shape == shape
        assert not make(*shape).numpy().any()
    for data in ([1], (0, 1), [[1, 0]], np.array(1), rv.tensor(1), rv.tensor([1, 0]), range(2)):
        assert np.array_equal(make(data).numpy(), np.asarray(data))


@pytest.mark.parametrize(
    "given", [(3.0,), (True,), (2, True), (2.0, 3), ([1.0], [2.0]), ([1.0], True), (1j,)]
)
def test_a_constructor_refuses_what_is_neither_shape_nor_data(given):
    with pytest.raises(TypeError, match=r"\[Tensor\] got .*; expected sizes, or data in one list or array"):
        rv.Tensor(*given)
    refused(TypeError, "[LongTensor] got ", rv.LongTensor, *given)


@pytest.mark.parametrize("method", ["to", "clone", "contiguous", "float", "add_", "fill_"])
def test_methods_refuse_unknown_keywords(method):
    with pytest.raises(TypeError, match="unexpected keyword argument 'memory_fromat'"):
        getattr(rv.ones(2), method)(memory_fromat=rv.contiguous_format)


def test_numpy_sees_the_memory_but_not_through_the_tape():
    x = rv.zeros(2)
    x.numpy()[0] = 5
    assert x.tolist() == [5, 0]
    x.requires_grad_()
    for look in (lambda: x.numpy(), lambda: np.asarray(x), lambda: x.__dlpack__()):
        refused(RuntimeError, "can't call numpy() on a Tensor that requires grad", look)
    assert x.numpy(force=True)[0] == 5
    assert np.asarray(x.detach())[0] == 5


LEFT = [
    *(np.ones(2, np.float32), np.full((2, 1), 3.0, np.float32), np.float32(3), np.float64(3)),
    *(np.int64(3), np.array(3.0, np.float32)),
]


@pytest.mark.parametrize("left", LEFT, ids=lambda left: f"{type(left).__name__}{np.shape(left)}")
@pytest.mark.parametrize(
    "name", ["add", "sub", "mul", "truediv", "pow", "lt", "ge", "eq", "ne", "floordiv", "mod"]
)
def test_numpy_on_the_left_gives_way(left, name):
    operate = getattr(operator, name)
    x = rv.tensor([2.0, 5.0], requires_grad=True)
    y = operate(left, x)
    assert type(y) is rv.Tensor
    np.testing.assert_allclose(y.detach().numpy(), operate(left, x.detach().numpy()), rtol=1e-6)
    assert y.requires_grad == (name not in ("lt", "ge", "eq", "ne"))
    changed = left
    changed = getattr(operator, f"i{name}", operate)(changed, x)
    assert type(changed) is rv.Tensor


def test_functions_of_numpy_give_tensors():
    x = rv.tensor([[1.0, 4.0], [9.0, 16.0]])
    y = np.sqrt(x)
    assert (type(y), y.dtype, y.tolist()) == (rv.Tensor, rv.float32, [[1, 2], [3, 4]])
    assert np.maximum(np.full(2, 5.0), x).tolist() == [[5, 5], [9, 16]]
    assert np.isnan(x).dtype == rv.bool
    assert np.add.reduce(x, axis=0).tolist() == [10, 20]
    assert np.exp(rv.tensor(0.0)).tolist() == 1
    assert np.multiply(x, 1j).dtype == np.complex64
    assert type(np.asarray(x)) is np.ndarray
    x.requires_grad_()
    for look in (np.sqrt, np.abs, lambda x: np.add(np.ones(2), x)):
        refused(RuntimeError, "can't call numpy() on a Tensor that requires grad; use detach()", look, x)
    with rv.no_grad():
        assert np.sqrt(x).tolist() == [[1, 2], [3, 4]]
    refused(rv.CaptureError, "numpy()", rv.compile(lambda x: np.sqrt(x), strict=True), rv.ones(2))


def test_array_protocol():
    x = rv.tensor([1.5, 2.5])
    assert np.asarray(x, np.float64).dtype == np.float64
    assert np.asarray(x) is x.numpy()
    assert not np.shares_memory(np.array(x), x.numpy())
    refused(ValueError, "without a copy", x.__array__, np.float64, copy=False)
    assert np.shares_memory(np.from_dlpack(x), x.numpy())


def test_scalars():
    x = rv.tensor([2.5])
    assert (x.item(), float(x), int(x), bool(x)) == (2.5, 2.5, 2, True)
    assert [10, 20, 30][rv.tensor(2)] == 30
    assert f"{rv.tensor(3.14159):.2f}" == "3.14"
    assert f"{rv.tensor(2.5)} {rv.tensor(3)}" == "2.5 3"
    assert f"{rv.tensor([2.5])}" == "tensor([2.5000])"
    refused(TypeError, "only integer tensors", lambda: [1][rv.tensor(0.0)])
    refused(RuntimeError, "[item] got a Tensor with 3 elements; expected one", rv.ones(3).item)
    refused(RuntimeError, "Tensor with 3 values is ambiguous", bool, rv.ones(3))
    refused(TypeError, "0-d tensor", len, rv.tensor(1))
    refused(TypeError, "0-d tensor", iter, rv.tensor(1))
    assert 2.5 in x
    assert len({x, x, rv.tensor([2.5])}) == 2


def test_detach_and_data_share_memory():
    x = rv.ones(2, requires_grad=True)
    for twin in (x.detach(), x.data):
        assert not twin.requires_grad
        assert np.shares_memory(twin.numpy(), x.numpy(force=True))
    x.data = rv.zeros(3)
    assert x.shape == (3,)
    assert x.requires_grad
    x.data = np.ones(2, np.float32)
    assert x.tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="dtype int64"):
        x.data = rv.tensor([1])
    y = exp(x)
    assert y.detach_() is y
    assert y.is_leaf
    assert not y.requires_grad


def test_requires_grad_is_for_floating_leaves():
    refused(RuntimeError, "only Tensors of floating point dtype", rv.tensor([1]).requires_grad_)
    refused(RuntimeError, "only Tensors of floating point dtype", rv.tensor, [1], requires_grad=True)
    y = exp(rv.ones(1, requires_grad=True))
    refused(RuntimeError, "expected a leaf", y.requires_grad_, False)
    assert not rv.ones(1, requires_grad=True).requires_grad_(False).requires_grad


def test_casts():
    x = rv.tensor([1.75, -1.75])
    assert [x.double().dtype, x.long().dtype, x.int().dtype, x.bool().dtype, x.to(rv.float64).dtype] == [
        np.dtype(d) for d in ("float64", "int64", "int32", "bool", "float64")
    ]
    assert x.float() is x
    assert x._cdata == x._cdata != x.clone()._cdata
    assert x.cpu() is x
    assert x.to("cpu") is x
    assert x.to("cpu", rv.float64).dtype == x.to(rv.zeros(1, dtype=rv.float64)).dtype == np.float64
    assert x.to(dtype=rv.int64).tolist() == [1, -1]
    assert x.to(rv.float32, copy=True) is not x
    assert x.type_as(rv.tensor([1])).dtype == np.int64
    assert x.type() == "torch.FloatTensor"
    assert x.long().type(rv.Tensor).dtype == np.float32
    assert x.type(np.float64).dtype == rv.nn.Linear(1, 1).type(np.float64).weight.dtype == np.float64
    refused(ValueError, "[to] got 'cuda'; expected 'cpu'", x.to, "cuda")


def test_casts_between_floats_are_differentiable():
    x = rv.tensor([2.0], requires_grad=True)
    y = x.double()
    mul(y, y).backward()
    assert x.grad.tolist() == [4.0]
    assert x.grad.dtype == np.float32
    assert not x.long().requires_grad


def test_clone_keeps_the_layout_and_the_tape():
    x = rv.from_numpy(np.zeros((2, 4, 4, 3), np.float32).transpose(0, 3, 1, 2)).requires_grad_()
    y = x.clone()
    assert y.stride() == x.stride()
    assert not np.shares_memory(y.numpy(force=True), x.numpy(force=True))
    z = y.contiguous()
    assert z.is_contiguous()
    assert z.contiguous() is z
    z.backward(np.ones(z.shape))
    assert x.grad.stride() == x.stride()


def test_deepcopy_and_pickle():
    x = rv.ones(2, requires_grad=True)
    mul(x, x).backward(np.ones(2))
    twin = copy.deepcopy({"a": x, "b": x})
    assert twin["a"] is twin["b"]
    assert twin["a"].grad.tolist() == [2, 2]
    twin["a"].data.zero_()
    assert x.tolist() == [1, 1]
    weight = rv.nn.Parameter(rv.ones(2))  # its copies begin without gradients, as PyTorch's
    mul(weight, x).sum().backward()
    held = copy.deepcopy([weight, weight.grad])
    assert (held[0].grad, held[1].tolist(), weight.grad.tolist()) == (None, [1, 1], [1, 1])
    refused(RuntimeError, "only leaves can be deep-copied", copy.deepcopy, exp(x))
    again = pickle.loads(pickle.dumps(x))
    assert again.requires_grad
    assert again.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (rv.tensor([0.0, 0.0], requires_grad=True), "tensor([0., 0.], requires_grad=True)"),
        (rv.zeros(2, dtype=rv.float64), "tensor([0., 0.], dtype=torch.float64)"),
        (rv.tensor([0, 1, 2]), "tensor([0, 1, 2])"),
        (rv.zeros(0), "tensor([])"),
        (rv.zeros(0, 3), "tensor([], size=(0, 3))"),
        (rv.tensor(3.0), "tensor(3.)"),
        (rv.tensor(3), "tensor(3)"),
        (rv.tensor([True, False]), "tensor([ True, False])"),
        (rv.tensor([1.5, -2.25]), "tensor([ 1.5000, -2.2500])"),
        (rv.tensor([1.5, 2, 1e-5, 1e6]), "tensor([1.5000e+00, 2.0000e+00, 1.0000e-05, 1.0000e+06])"),
        (rv.tensor([1.0, float("nan"), float("inf")]), "tensor([1., nan, inf])"),
        (rv.tensor([0x7F800001], dtype=rv.int32).view(rv.float32), "tensor([nan])"),  # a signalling one
        (rv.zeros(2, 2), "tensor([[0., 0.],\n        [0., 0.]])"),
        (rv.zeros(1, 2, 1), "tensor([[[0.],\n         [0.]]])"),
        (rv.arange(2000), "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"),
        (
            rv.arange(1200).reshape(2, 600),
            "tensor([[   0,    1,    2,  ...,  597,  598,  599],\n"
            "        [ 600,  601,  602,  ..., 1197, 1198, 1199]])",
        ),
        (
            rv.cat([rv.ones(600), rv.tensor([0.5]), rv.ones(600)]),  # what is not shown decides nothing
            "tensor([1., 1., 1.,  ..., 1., 1., 1.])",
        ),
        (rv.zeros(2, dtype=rv.int32), "tensor([0, 0], dtype=torch.int32)"),
    ],
)
def test_text_is_pytorchs(tensor, text):
    assert repr(tensor) == text


def test_a_thousand_elements_are_shown_whole():
    assert "..." not in repr(rv.arange(1000))
    assert "..." in repr(rv.arange(1001))


def test_text_names_the_maker():
    x = rv.ones(1, requires_grad=True)
    assert repr(exp(x)) == "tensor([2.7183], grad_fn=<Exp>)"
    assert repr(add(x, x).grad_fn) == "<Add>"


def test_a_size_is_a_shape():
    size = rv.zeros(2, 3, 4).size()
    assert (size, size[1:], size[0]) == ((2, 3, 4), (3, 4), 2)
    assert (size.numel(), size[:0].numel()) == (24, 1)
    assert rv.Tensor(size).shape == rv.ones(1).new(size).shape == rv.zeros(size).shape == (2, 3, 4)
    assert rv.Tensor(rv.tensor(1.0).size()).shape == ()
    assert rv.Tensor((2, 3)).tolist() == [2.0, 3.0]


def test_programs_add_attributes():
    weight = rv.nn.Parameter(rv.ones(2))
    weight.no_decay, weight.tags = True, ["a"]
    for twin in (copy.deepcopy(weight), pickle.loads(pickle.dumps(weight))):
        assert twin.no_decay
        assert twin.tags == ["a"]
        assert twin.tags is not weight.tags
    assert not hasattr(rv.ones(2), "no_decay")
    with pytest.raises(AttributeError):
        weight.edges = ()  # what backward reads of a leaf


def test_resize_in_place():
    x = rv.arange(6.0)
    assert x.resize_(2, 2) is x
    assert x.tolist() == [[0, 1], [2, 3]]
    assert x.resize_(5).tolist() == [0, 1, 2, 3, 0]
    assert x.new().resize_as_(rv.ones(2, 3)).zero_().shape == (2, 3)
    assert x[1:].resize_(4).tolist() == [1, 2, 3, 0]  # nothing to do
    leaf = rv.ones(2, requires_grad=True)
    refused(RuntimeError, "[resize_] got a tensor that requires gradients", leaf.resize_, 3)
    view = x[:2]
    for shared in (x, view):
        refused(RuntimeError, "[resize_] got a tensor that shares its memory", shared.resize_, 3)


@pytest.mark.parametrize("kind", [RuntimeError, TypeError])
def test_several_elements_are_not_one_number(kind):
    refused(kind, "got a Tensor with 2 elements", float, rv.ones(2))


@pytest.mark.parametrize("value", [False, True])
def test_a_mask_of_one_element_is_a_mask_for_numpy(value):
    picked = np.array([7.0])[rv.tensor([value])]  # an integer index would give element 0, or an error
    np.testing.assert_array_equal(picked, [7.0] if value else [])


def test_parts_sums_and_multiples_of_a_size_are_one():
    size = rv.zeros(2, 3, 4).shape
    expected = {
        (3, 4): size[1:],
        (4, 3, 2): size[::-1],
        (): size[3:],
        (2, 3, 4, 5): operator.add(size, [5]),
        (1, 2, 3, 4): operator.add((1,), size),
        (2, 3, 4, 2, 3, 4): size * 2,
    }
    for numbers, made in {**expected, (2, 3, 4) * 3: 3 * size}.items():
        assert type(made) is rv.Size
        assert made == numbers
        assert made.numel() == math.prod(numbers)
    assert type(rv.broadcast_shapes((2, 1), (3,))) is type(rv.zeros(()).shape) is rv.Size
    assert hash(size) == hash((2, 3, 4))
    assert (size[0], size[-1]) == (2, 4)
    assert type(size[0]) is int
    again = pickle.loads(pickle.dumps(size))
    assert (type(again), again) == (rv.Size, size)
    for wrong in (
        lambda: size + 3,
        lambda: operator.add([1], size),
        lambda: size * 1.5,
        lambda: size["a"],
        lambda: rv.Size(3),
    ):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(IndexError):
        size[3]


def test_what_a_tensor_says_of_itself():
    x = rv.zeros(2, 3)
    assert (x.is_complex(), x.is_signed(), x.byte().is_signed(), x.get_device()) == (False, True, False, -1)
    assert x.real is x
    assert isinstance(x.layout, rv.layout)
    assert str(x.layout) == "torch.strided" == repr(rv.strided)
    assert isinstance(rv.channels_last, rv.memory_format)
    assert x.is_contiguous(memory_format=rv.contiguous_format)
