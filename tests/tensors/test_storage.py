"""untyped_storage() and storage(): the bytes of a memory of which tensors are parts, and tensors that take
other memory (set_).
"""

import copy
import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier.tensors.storage import UntypedStorage
from support.refused import refused


def test_tensors_of_one_memory_have_one_address():
    """Views, detached tensors and `data` have the storage of the whole, a clone another one."""
    x = rv.arange(6.0).reshape(2, 3)
    whole = x.untyped_storage()
    for part in (x, x[1:], x.T, x[:, 1], x.detach(), x.data):
        assert (part.untyped_storage().data_ptr(), part.untyped_storage().nbytes()) == (x.data_ptr(), 24)
    assert (len(whole), whole.size(), whole.device) == (24, 24, rv.device("cpu"))
    assert x.clone().untyped_storage().data_ptr() != x.data_ptr()
    assert np.array(whole).view(np.float32).tolist() == [0, 1, 2, 3, 4, 5]
    assert (whole[4:8].tolist(), whole[2]) == ([0, 0, 128, 63], 0)
    assert whole[4:].data_ptr() == x.data_ptr() + 4
    assert (rv.zeros(0).untyped_storage().data_ptr(), rv.zeros(0).untyped_storage().nbytes()) == (0, 0)
    assert rv.tensor(1.0).untyped_storage().nbytes() == 4
    assert whole.untyped() is whole
    assert not whole.is_shared()
    assert sys.getsizeof(whole) - sys.getsizeof(x[:0].clone().untyped_storage()) == 24
    assert sys.getsizeof(x.storage()) - sys.getsizeof(x[:0].clone().storage()) == 24


@pytest.mark.parametrize("shared", [False, True])
def test_bytes_of_a_file(tmp_path, shared):
    path = tmp_path / "bytes"
    path.write_bytes(b"abcd")
    bytes_ = UntypedStorage.from_file(str(path), shared, 3)
    assert bytes_.tolist() == [97, 98, 99]
    np.asarray(bytes_)[0] = 120
    del bytes_
    expected = b"xbcd" if shared else b"abcd"
    assert path.read_bytes() == expected
    assert UntypedStorage.from_file(str(path)).nbytes() == 0
    refused(RuntimeError, "got 5 bytes of a file of 4", UntypedStorage.from_file, str(path), False, 5)


def test_a_compiled_step_does_not_read_it():
    step = rv.compile(lambda x: x * x.untyped_storage().nbytes())
    with pytest.warns(UserWarning, match="untyped_storage"):
        results = [step(rv.ones(2)).tolist() for _ in range(3)]
    assert results == [[8, 8]] * 3


SIX = rv.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ((SIX,), [[0, 1, 2], [3, 4, 5]]),
        ((SIX.T[1:],), [[1, 4], [2, 5]]),
        ((SIX.untyped_storage(),), [0, 1, 2, 3, 4, 5]),
        ((SIX.untyped_storage(), 1, (2, 2), (3, 1)), [[1, 2], [4, 5]]),
        ((SIX.untyped_storage(), 2, (4,)), [2, 3, 4, 5]),
        ((SIX, 1, (2, 2), (3, 1)), [[1, 2], [4, 5]]),
        ((SIX[1:], 1, (2,), (1,)), [4, 5]),  # from where it begins
        ((), []),
    ],
)
def test_a_tensor_takes_other_memory(arguments, values):
    x = rv.zeros(3)
    view = x[:2]
    assert x.set_(*arguments) is x
    assert x.tolist() == values
    assert view.tolist() == [0, 0]
    if arguments:
        x.mul_(2.0)
        changed = SIX.sum().item()
        x.mul_(0.5)
        assert changed == 15 + np.sum(values)


def test_memory_that_a_tensor_cannot_take():
    """It has another dtype, ends too early, or has gradients; nor may a backward need the old one."""
    x, w = rv.zeros(2), rv.ones(2, requires_grad=True)
    refused(RuntimeError, "[set_] got float64 for a tensor of float32", x.set_, rv.ones(2).double())
    refused(TypeError, "[set_] got int; expected a Tensor or a storage", x.set_, 3)
    refused(ValueError, "[set_] got size (4,), stride (1,) and offset 4", x.set_, SIX, 4, (4,), (1,))
    refused(RuntimeError, "a leaf Variable that requires grad", w.set_, rv.ones(2))
    refused(RuntimeError, "[set_] got Tensors that require gradients", (w * 1).set_, rv.ones(2))
    refused(RuntimeError, "[set_] got Tensors that require gradients", x.set_, w * 1)
    y = (w * w).sum()
    with rv.no_grad():
        assert w.set_(rv.zeros(2)).requires_grad
    refused(RuntimeError, "modified by an inplace operation", y.backward)
    (w * 3).sum().backward()
    assert w.grad.tolist() == [3, 3]


@pytest.mark.parametrize("dtype", [rv.int32, rv.float32, rv.float16, rv.uint8])
def test_memory_read_as_another_dtype_has_no_gradient(dtype):
    w = rv.ones(2, requires_grad=True)
    for x in (w, w * 1):
        y = x.view(dtype)
        assert not y.requires_grad
        assert y.is_leaf
        assert y.data_ptr() == x.data_ptr()
        np.testing.assert_array_equal(y.numpy(), np.ones(2, np.float32).view(np.dtype(dtype)), strict=True)
    z = (x * x).sum()
    y.zero_()
    assert x.tolist() == [0, 0]
    refused(RuntimeError, "modified by an inplace operation", z.backward)


@pytest.mark.parametrize("kind", ["storage", "untyped_storage"])
def test_a_batch_in_new_memory(kind):
    """As copies of PyTorch's collate function write it in workers."""
    rows = [rv.tensor([1, 2]), rv.tensor([3, 4])]
    own = getattr(rows[0], kind)()
    new = own._new_shared(4 if kind == "storage" else 32, device=rows[0].device)
    out = rows[0].new(new)
    assert (new.nbytes(), out.dtype, out.data_ptr() == new.data_ptr()) == (32, rv.int64, True)
    assert out.resize_(2, 2).copy_(rv.stack(rows)).tolist() == [[1, 2], [3, 4]]


def test_a_storage_of_elements():
    x = rv.arange(6.0)
    whole = x[2:].storage()
    assert (whole.size(), len(whole), whole.nbytes(), whole.dtype) == (6, 6, 24, rv.float32)
    assert (whole[1], whole[4:], whole.tolist(), whole.is_shared()) == (1.0, [4.0, 5.0], x.tolist(), False)
    x.new(whole).fill_(7)
    assert x.tolist() == whole.untyped()._array.view(np.float32).tolist() == [7] * 6
    assert rv.zeros(1).set_(whole, 1, (2, 2), (2, 1)).tolist() == [[7, 7], [7, 7]]
    assert copy.deepcopy(whole).data_ptr() != whole.data_ptr() == x.data_ptr()
    refused(ValueError, "[set_] got size (2,)", rv.zeros(1).set_, rv.zeros(0), 0, (2,), (1,))
