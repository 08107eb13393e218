"""Making Tensors: the dtype and shape of data, what shares memory with NumPy and what copies, ranges, random
numbers that follow the seed, devices, and what is refused.
"""

import inspect
import math

import numpy as np
import pytest
import ranvier as rv
from support.refused import refused


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float32"),
        (3, "int64"),
        (True, "bool"),
        ([1, 2.5], "float32"),
        ([[1, 2], [3, 4]], "int64"),
        ([], "float32"),
        (np.ones(2), "float64"),
        (np.float64(1.0), "float64"),
        (np.array([1], np.int32), "int32"),
        (range(3), "int64"),
        ([np.float64(1), np.float64(2)], "float64"),
        ([np.float32(1), 2.5], "float32"),
        ([2.5, np.float32(1)], "float32"),
        ([1, np.float64(1)], "float64"),
        ([np.int8(1), 2], "int64"),
        ([np.int8(1), np.uint8(1)], "int16"),
        ([True, np.int8(1)], "int8"),
        ([np.float16(1), 2], "float16"),
        ([np.float16(1), 2.5], "float32"),
        ([[1, 2], [np.float64(3), 4]], "float64"),
        ([np.array([1.0]), np.array([2.0])], "float64"),
    ],
)
def test_dtype_of_data(data, dtype):
    for make in (rv.tensor, rv.as_tensor):
        assert (make(data).dtype, make(data).shape) == (np.dtype(dtype), np.shape(data))


def test_lists_of_whole_numbers():
    for data in ([1, 2], [[1], [2]], [True, 3], 5):
        assert rv.tensor(data, dtype=rv.int64).tolist() == np.array(data, np.int64).tolist()
    assert rv.tensor([1.5, -2.7], dtype=rv.int64).tolist() == [1, -2]
    assert rv.tensor([True, False], dtype=rv.int64).tolist() == [1, 0]


def test_tensor_copies_as_tensor_shares():
    array = np.zeros(2, np.float32)
    assert not np.shares_memory(rv.tensor(array).numpy(), array)
    assert np.shares_memory(rv.as_tensor(array).numpy(), array)
    assert np.shares_memory(rv.from_numpy(array).numpy(), array)
    x = rv.ones(1)
    assert rv.as_tensor(x) is x
    assert rv.as_tensor(x, rv.int64).dtype == np.int64
    assert rv.tensor([rv.tensor(1.0), rv.tensor(2.0)]).tolist() == [1, 2]
    refused(TypeError, "expected a NumPy array", rv.from_numpy, [1.0])
    refused(ValueError, "[tensor] got lists of unequal lengths", rv.tensor, [[1], [2, 3]])
    refused(ValueError, "[tensor] got data of dtype", rv.tensor, ["a"])
    for array in (np.array([1, None]), np.array(["1", "2"])):
        refused(TypeError, "expected bools, integers or floats: array.astype(np.float32)", rv.tensor, array)


@pytest.mark.parametrize("make", [rv.tensor, rv.as_tensor, rv.from_numpy, rv.BoolTensor, rv.Tensor])
@pytest.mark.parametrize("writeable", [True, False])
def test_true_is_any_byte(make, writeable):
    """The pixels of an image of one bit, as pillow gives them to NumPy."""
    array = np.array([255, 0, 3], np.uint8).view(np.bool_)
    array.flags.writeable = writeable
    x = make(array)
    assert (x.sum().item(), (x.float() * array).tolist()) == (2, [1, 0, 1])
    assert np.shares_memory(x.numpy(), array) == (writeable and make not in (rv.tensor, rv.Tensor))


def test_filled():
    assert rv.zeros(2, 3).shape == rv.zeros((2, 3)).shape == rv.empty([2, 3]).shape == (2, 3)
    assert rv.zeros(()).shape == ()
    assert rv.ones(2, dtype=rv.int64).tolist() == [1, 1]
    assert rv.full((2,), 0.5).dtype == np.float32
    assert rv.full((2,), 3).dtype == np.int64
    assert rv.full(2, 3.0, dtype=rv.float64).dtype == np.float64
    x = rv.ones(2, 2, dtype=rv.float64)
    for like in (rv.zeros_like, rv.ones_like, rv.empty_like, rv.rand_like, rv.randn_like):
        assert (like(x).shape, like(x).dtype) == ((2, 2), np.float64)
    assert rv.full_like(x, 4).tolist() == [[4, 4], [4, 4]]
    assert rv.full_like(rv.tensor([1]), 2.5, dtype=rv.float32).tolist() == [2.5]
    assert rv.zeros_like(x, requires_grad=True).requires_grad
    assert rv.eye(2).tolist() == [[1, 0], [0, 1]]
    assert rv.eye(2, 3).shape == (2, 3)


def test_ranges():
    assert rv.arange(3).tolist() == rv.arange(end=3).tolist() == [0, 1, 2]
    assert rv.arange(1, 4, 2).dtype == np.int64
    assert rv.arange(0, 1, 0.25).tolist() == [0, 0.25, 0.5, 0.75]
    assert rv.arange(3.0).dtype == np.float32
    assert rv.linspace(0, 1, 5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert rv.linspace(-np.inf, 2, 1).tolist() == [-np.inf]


def test_dtypes_of_random_numbers():
    assert rv.rand(2).dtype == np.float32
    assert rv.randn(2, dtype=rv.float64).dtype == np.float64


def test_keys_for_kernels_are_fresh_and_follow_the_seed():
    from ranvier.ops.making.random import current

    rv.manual_seed(1)
    first = [current().next_key() for _ in range(100)]
    assert len(set(first)) == 100
    assert all(0 <= key < 2**64 for key in first)
    rv.manual_seed(1)
    assert [current().next_key() for _ in range(100)] == first
    rv.manual_seed(2)
    assert current().next_key() not in first


def test_the_state_of_randomness_can_be_kept():
    import json

    from ranvier.ops.making.random import current

    rv.rand(3)
    current().next_key()
    state = rv.tensor(json.loads(json.dumps(rv.get_rng_state().tolist())), dtype=rv.uint8)
    after = rv.rand(3).tolist(), current().next_key()
    rv.set_rng_state(state)
    assert (rv.rand(3).tolist(), current().next_key()) == after


def test_states_of_randomness_compare():
    states = []
    for seed in (1, 2**63):
        generator = rv.Generator().manual_seed(seed)
        states.append(generator.get_state())
        rv.rand(3, generator=generator)
        states.append(generator.get_state())
    for i, state in enumerate(states):
        for j, other in enumerate(states):
            assert bool((state == other).all()) is (i == j)


def test_a_default_device_may_be_set_in_a_block_of_another():
    with rv.device("cpu"):
        rv.set_default_device("meta")
        assert rv.get_default_device() == rv.device("cpu")
    assert rv.get_default_device() == rv.device("meta")
    rv.set_default_device(None)
    assert rv.get_default_device() == rv.device("cpu")


def test_the_device_is_the_cpu():
    cpu = rv.device("cuda" if rv.cuda.is_available() else "cpu")
    assert cpu == cpu.type == str(cpu) == "cpu"
    assert (cpu.index, repr(cpu)) == (None, "device(type='cpu')")
    assert rv.zeros(2, device=cpu).to(cpu).device == cpu
    assert rv.cuda.device_count() == 0
    for make in (rv.zeros, rv.tensor, rv.as_tensor):
        for device in ("cuda:0", rv.device("cuda", 0)):
            refused(ValueError, "got 'cuda:0'; expected 'cpu'", make, 1, device=device)


def test_another_device_can_be_named():
    gpu = rv.device("cuda", 1)
    assert (gpu.type, gpu.index, repr(gpu)) == ("cuda", 1, "device(type='cuda', index=1)")
    assert gpu == rv.device("cuda:1") != rv.device("cuda")
    assert (rv.device("cpu", 1).index, rv.zeros(1, device="cpu:1").device) == (1, rv.device("cpu"))
    for wrong in ("gpu", "cuda:first", ""):
        refused(ValueError, f"[device] got {wrong!r}; expected 'cpu'", rv.device, wrong)


@pytest.mark.parametrize("make", [rv.tensor, rv.as_tensor])
def test_numbers_keep_all_their_digits_in_float64(make):
    for data in (2**0.5, [2**0.5, 1e300], [[0.1], [1e-300]], [rv.tensor(1.5), 0.1]):
        numbers = [1.5, 0.1] if isinstance(data, list) and isinstance(data[0], rv.Tensor) else data
        found = make(data, dtype=rv.float64)
        assert (found.dtype, found.tolist()) == (np.float64, numbers)


def test_sizes_that_do_not_exist():
    refused(TypeError, "[linspace] got steps 2.0; expected a whole number", rv.linspace, 0, 1, 2.0)
    refused(ValueError, "[linspace] got steps -1; expected at least 0", rv.linspace, 0, 1, -1)
    refused(ValueError, "[arange] got 0 to inf in steps of 2; expected fewer", rv.arange, 0, float("inf"), 2)
    text = "[arange] got 0 to 4 in steps of 0; expected a step towards the end"
    refused(ValueError, text, rv.arange, 0, 4, 0)
    refused(ValueError, "[eye] got sizes -1 and None; expected numbers of at least 0", rv.eye, -1)


@pytest.mark.parametrize(
    "make",
    [
        *(lambda f=f: f(1j) for f in (rv.tensor, rv.as_tensor, lambda x: rv.full((2,), x))),
        *(lambda f=f: f(np.ones(2, complex)) for f in (rv.tensor, rv.from_numpy, rv.Tensor, rv.zeros_like)),
        *(lambda d=d: rv.zeros(2, dtype=d) for d in (complex, "U3", object, "M8[s]")),
        *(lambda d=d: rv.ones(2).to(d) for d in (complex, object)),
        *(lambda f=f: f(3, dtype=rv.complex64) for f in (rv.arange, rv.randperm)),
        lambda: rv.linspace(0, 1, 2, dtype=rv.complex64),
        lambda: rv.randint(0, 2, (2,), dtype=rv.complex64),
        lambda: rv.tensor([1, 2j], dtype=rv.float32),
        lambda: rv.full_like(rv.ones(2), 1j),
        lambda: rv.from_numpy(np.array(["a"])),
    ],
)
def test_dtypes_that_no_op_takes(make):
    message = r"\[\w+\] got .*; expected (bools, integers or floats|a real number)"
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    ("number", "dtype"),
    [(300, "uint8"), (-1.5, "uint8"), (2**40, "int32"), (float("nan"), "int64"), (1e30, "int64")],
)
def test_numbers_that_a_dtype_cannot_hold(number, dtype):
    with pytest.raises(ValueError, match=rf"\[tensor\] got .*; expected numbers that {dtype} can hold"):
        rv.tensor([1, number], dtype=dtype)
    assert rv.tensor([-1], dtype=rv.uint8).item() == 255  # as in PyTorch


LIKE = ["empty_like", "full_like", "ones_like", "rand_like", "randn_like", "zeros_like"]


@pytest.mark.parametrize("name", LIKE)
def test_new_tensors_have_the_memory_format(name):
    x = rv.ones(2, 3, 4, 5, 6)
    fill = [2.0] * (name == "full_like")
    made = getattr(rv, name)(x, *fill, memory_format=rv.channels_last_3d)
    assert made.stride() == (360, 1, 90, 18, 3)
    made = getattr(rv, name)(x[0], *fill, memory_format=rv.channels_last)
    assert made.stride() == (120, 1, 24, 4)
    assert getattr(rv, name)(x.mT, *fill, memory_format=rv.contiguous_format).is_contiguous()
    with pytest.raises(ValueError, match=rf"\[{name}\] got memory_format torch.channels_last for 5 dim"):
        getattr(rv, name)(x, *fill, memory_format=rv.channels_last)


def test_an_empty_tensor_has_the_memory_format():
    made = rv.empty(2, 3, 4, 5, memory_format=rv.channels_last, requires_grad=True)
    assert (made.stride(), made.is_leaf, made.requires_grad) == ((60, 1, 15, 3), True, True)
    with pytest.raises(ValueError, match=r"\[empty\] got memory_format torch.channels_last_3d for 3 dim"):
        rv.empty(2, 3, 4, memory_format=rv.channels_last_3d)


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_memory_formats(dtype):
    """Channels-last copies, and which copies keep the order of memory of what they are made of."""
    x = rv.tensor(np.arange(24, dtype=dtype).reshape(1, 2, 3, 4))
    last = x.contiguous(memory_format=rv.channels_last)
    assert last.numpy().transpose(0, 2, 3, 1).flags.c_contiguous
    assert last.tolist() == x.tolist()
    assert last.contiguous(memory_format=rv.channels_last) is last
    assert last.clone().stride() == last.stride() == x.clone(memory_format=rv.channels_last).stride()
    assert last.clone(memory_format=rv.contiguous_format).is_contiguous()
    assert last.to(memory_format=rv.preserve_format) is last
    turned = rv.zeros(3, 4, 5).permute(2, 0, 1)
    assert turned.clone().stride() == turned[:, None].clone()[:, 0].stride() == turned.stride()
    assert last.double(memory_format=rv.contiguous_format).is_contiguous()
    with pytest.raises(ValueError, match=r"\[clone\] got memory_format torch.channels_last for 1 dimensions"):
        rv.zeros(3).clone(memory_format=rv.channels_last)
    with pytest.raises(TypeError):
        x.clone(memory_fromat=rv.channels_last)


def test_to_copies_where_it_is_asked():
    x = rv.zeros(2)
    assert x.to("cpu", rv.float32) is x
    assert x.to("cpu", rv.float32, True) is x
    assert x.to("cpu", rv.float32, False, True) is not x
    assert x.to(np.dtype(">f4")) is x
    refused(TypeError, "[view] got dtype", x.view, np.dtype("c8"))


def test_ranges_of_tensors_and_of_what_a_dtype_cannot_hold():
    n = rv.tensor([3, 5]).max()
    assert rv.arange(n).dtype == rv.int64
    assert rv.arange(n, np.array(9), rv.tensor(2)).tolist() == [5, 7]
    assert rv.arange(rv.tensor(1.5)).tolist() == [0.0, 1.0]
    for limits in ((0, 300), (-1, 1), (0, float("inf"))):
        refused(ValueError, "expected a number that uint8 can hold", rv.linspace, *limits, 3, dtype=rv.uint8)


@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        ([rv.tensor([1.0], dtype=rv.float64), 2], "float64", (2,)),
        ([rv.tensor(1, dtype=rv.int8)], "int8", (1,)),
        ([rv.tensor(1), 2.5], "float32", (2,)),
        ([rv.tensor([1]), rv.tensor([[2]])], "int64", (2,)),
        ([[rv.tensor([1.0])]], "float32", (1, 1)),
        ([rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0])], "float32", (2, 2)),
    ],
)
def test_lists_with_tensors(data, dtype, shape):
    """The dtypes and shapes of PyTorch, but for the last two Tensors, which it refuses."""
    x = rv.tensor(data)
    assert (x.dtype, x.shape) == (np.dtype(dtype), shape)


def test_numbers_of_numpy_are_numbers():
    """As in PyTorch, a number's own size does not decide the dtype of what it fills."""
    assert rv.full((2,), np.float64(3)).dtype == rv.float32
    assert rv.full((2,), np.int32(3)).dtype == rv.int64


def test_contiguous_is_a_method_with_a_signature():
    """As of a function of Python, though it is one of C: names, documentation, subclasses that override
    it."""
    x = rv.arange(6).reshape(2, 3)
    assert x.contiguous() is x
    assert x.contiguous(None) is x
    y = x.t()
    assert y.contiguous() is not y
    assert y.contiguous(memory_format=rv.contiguous_format).is_contiguous()
    assert rv.Tensor.contiguous(x) is x
    assert list(inspect.signature(rv.Tensor.contiguous).parameters) == ["self", "memory_format"]
    assert rv.Tensor.contiguous.__doc__.startswith("The tensor in C order")
    refused(TypeError, "contiguous() takes", x.contiguous, 1, 2)
    refused(TypeError, "unexpected keyword", x.contiguous, order=1)

    class Own(rv.Tensor):
        def contiguous(self, memory_format=None):
            return super().contiguous()

    own = Own([1.0])
    assert own.contiguous() is own


@pytest.mark.parametrize("value", [1e6, -1e6, 65519.0, 1e300, 10**30])
def test_no_finite_number_becomes_infinite(value):
    x = rv.zeros(2, dtype=rv.float16)
    mask = rv.tensor([True, False])
    for call in (
        lambda: rv.full((2,), value, dtype=rv.float16),
        lambda: rv.full_like(x, value),
        lambda: x.new_full((2,), value),
        lambda: x.clone().fill_(value),
        lambda: x.masked_fill(mask, value),
        lambda: x.index_fill(0, rv.tensor([0]), value),
    ):
        refused(ValueError, "expected a number that float16 can hold", call)


def test_numbers_at_the_limits_of_floats():
    assert rv.full((1,), 1e39, dtype=rv.float64).tolist() == [1e39]
    for call in (
        lambda: rv.full((1,), 1e39),
        lambda: rv.full_like(rv.zeros(1), -1e300),
        lambda: rv.zeros(1).fill_(1e300),
        lambda: rv.scalar_tensor(1e300),
        lambda: rv.nn.init.constant_(rv.zeros(1), 1e300),
    ):
        refused(ValueError, "expected a number that float32 can hold", call)
    assert rv.full((1,), math.inf).tolist() == rv.zeros(1).fill_(math.inf).tolist() == [math.inf]
