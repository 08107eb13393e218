"""Memory shared with NumPy and PyTorch by DLPack: each sees the other's changes; what requires a gradient is
refused.
"""

import gc

import numpy as np
import pytest
import ranvier as rv
import ranvier.utils.dlpack as dlpack
from support.refused import refused

writable = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.1.0", reason="NumPy before 2.1 gives read-only memory"
)


@writable
def test_changes_are_seen_on_both_sides():
    x = np.zeros((2, 3), np.float32)
    t = rv.from_dlpack(x)
    t.add_(1)
    assert x.tolist() == [[1, 1, 1], [1, 1, 1]]
    x[0] = 5
    assert t.tolist() == [[5, 5, 5], [1, 1, 1]]
    assert np.shares_memory(np.from_dlpack(t.T), x)
    assert t.__dlpack_device__() == (1, 0)


@writable
def test_a_captured_step_sees_changes_of_shared_memory():
    weight = rv.ones(3)
    shared = np.from_dlpack(weight)
    step = rv.compile(lambda x: (x * weight).sum())
    for value in (1.0, 2.0, 3.0, 4.0):
        shared[:] = value
        assert step(rv.ones(3)).item() == 3 * value


def test_no_memory_of_a_tensor_that_requires_grad():
    w = rv.ones(3, requires_grad=True)
    refused(RuntimeError, "use detach", w.__dlpack__)
    refused(RuntimeError, "use detach", dlpack.to_dlpack, w)
    assert np.from_dlpack(w.detach()).tolist() == [1, 1, 1]


def test_bfloat16():
    """Whose code NumPy lacks."""
    x = rv.tensor([1.5, 2.0, -1.0]).bfloat16()
    for of in (x, x[::2], x[0], x[:0], x.view(1, 3).T):
        y = rv.from_dlpack(of)
        assert (y.dtype, y.tolist()) == (rv.bfloat16, of.tolist())
    if np.lib.NumpyVersion(np.__version__) >= "2.1.0":
        rv.from_dlpack(x)[0] = 7
        assert x[0].item() == 7
    capsule = dlpack.to_dlpack(x)
    assert dlpack.from_dlpack(capsule).tolist() == x.tolist()
    refused(ValueError, "was used before", rv.from_dlpack, capsule)


def test_wrong_input():
    refused(TypeError, "expected a tensor of a library with __dlpack__", rv.from_dlpack, [1.0])
    refused(TypeError, "got dtype complex64", rv.from_dlpack, np.zeros(2, np.complex64))
    capsule = dlpack.to_dlpack(rv.ones(2))
    fixed = dlpack.from_dlpack(capsule)
    assert fixed.tolist() == [1, 1]
    refused(ValueError, "was used before", rv.from_dlpack, capsule)
    refused(ValueError, "read-only memory", fixed.fill_, 2.0)
    for key, value in ((0, 2.0), ([0], 2.0), (fixed > 0, 2.0), (rv.tensor([0]), rv.zeros(1))):
        refused(ValueError, "[setitem] got a tensor on read-only memory", fixed.__setitem__, key, value)


def test_with_pytorch():
    """Memory of PyTorch here and of this library there: changes on both sides, after one side has let go;
    what neither can share."""
    torch = pytest.importorskip("torch")
    theirs = torch.arange(4.0)
    ours = rv.from_dlpack(theirs)
    ours.mul_(2)
    theirs[3] = -1
    assert ours.tolist() == theirs.tolist() == [0, 2, 4, -1]
    del theirs
    gc.collect()
    assert ours.tolist() == [0, 2, 4, -1]
    t = rv.ones(2, 3)
    for u in (
        torch.from_dlpack(t),
        torch.from_numpy(t.numpy()),
        torch.utils.dlpack.from_dlpack(dlpack.to_dlpack(t)),
    ):
        t.add_(1)
        u.mul_(2)
        assert t.tolist() == u.tolist()
    del t
    gc.collect()
    assert u.tolist() == [[22, 22, 22], [22, 22, 22]]
    refused(BufferError, "grad", rv.from_dlpack, torch.ones(2, requires_grad=True))
    refused(BufferError, "NumPy cannot read", rv.from_dlpack, torch.ones(2, dtype=torch.float8_e5m2))
    brain = torch.ones(3, dtype=torch.bfloat16)
    for x in (rv.from_dlpack(brain[1:]), rv.from_dlpack(torch.utils.dlpack.to_dlpack(brain[1:].detach()))):
        assert x.dtype is rv.bfloat16
        if x._array.flags.writeable:
            x.mul_(3)
        torch.from_dlpack(rv.from_dlpack(brain)).mul_(2)
    assert brain.tolist() == [4, 12, 12]
    refused(RuntimeError, "use detach", rv.ones(2).bfloat16().requires_grad_().__dlpack__)
    numbers = torch.bool, torch.uint8, torch.int32, torch.int64, torch.float16, torch.float64, torch.bfloat16
    for dtype in numbers:
        x = torch.ones(2, 3, dtype=dtype).T
        assert torch.equal(torch.from_dlpack(rv.from_dlpack(x)), x)
