"""untyped_storage(): the bytes of which tensors are parts."""

import numpy as np
import pytest
import ranvier as rv
from ranvier.autograd.storage import UntypedStorage
from support.refused import refused


def test_tensors_of_one_memory_have_one_address():
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


@pytest.mark.parametrize("shared", [False, True])
def test_bytes_of_a_file(tmp_path, shared):
    path = tmp_path / "bytes"
    path.write_bytes(b"abcd")
    bytes_ = UntypedStorage.from_file(str(path), shared, 3)
    assert bytes_.tolist() == [97, 98, 99]
    np.asarray(bytes_)[0] = 120
    del bytes_
    assert path.read_bytes() == (b"xbcd" if shared else b"abcd")
    assert UntypedStorage.from_file(str(path)).nbytes() == 0
    refused(RuntimeError, "got 5 bytes of a file of 4", UntypedStorage.from_file, str(path), False, 5)


def test_a_compiled_step_does_not_read_it():
    step = rv.compile(lambda x: x * x.untyped_storage().nbytes())
    with pytest.warns(UserWarning, match="untyped_storage"):
        results = [step(rv.ones(2)).tolist() for _ in range(3)]
    assert results == [[8, 8]] * 3
