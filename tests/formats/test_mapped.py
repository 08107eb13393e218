"""Files of arrays are mapped into memory."""

import mmap
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn


def test_a_file_is_mapped(path):
    """Changes stay in the process, and the file may be replaced and removed."""
    rv.save({"a": rv.ones(2000), "bits": rv.tensor([True])}, path)
    before = path.read_bytes()
    a = rv.load(path)["a"]
    a[0] = 5
    assert path.read_bytes() == before
    rv.save({"a": rv.zeros(2000)}, path)
    assert (a[0].item(), a[1].item(), rv.load(path)["a"].sum().item()) == (5.0, 1.0, 0.0)
    path.unlink()
    assert a.sum().item() == 2004.0
    assert a.untyped_storage().nbytes() == 8000
    assert len(pickle.dumps(a)) < 9000
    model = nn.Linear(2000, 1)
    rv.nn.Module.load_state_dict(model, {"weight": a.view(1, 2000), "bias": a[:1]}, assign=True)
    a[1] = 7
    assert model.weight[0, 1].item() == 7.0


@pytest.mark.parametrize("dtype", [rv.float64, rv.float16, rv.bfloat16, rv.float32])
def test_a_model_has_the_memory_of_its_file(path, dtype):
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Linear(2, 2))
    model.append(model[2])
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.to(dtype) if tensor.is_floating_point() else tensor.data
    rv.save(model, path)
    back = rv.load(path)
    assert back[3] is back[2]
    for name, x in model.state_dict().items():
        y = back.state_dict()[name]
        assert (y.dtype, y.tolist(), y.stride()) == (x.dtype, x.tolist(), x.stride())
    assert isinstance(back[2].weight._array.base, mmap.mmap)
    with rv.no_grad():
        back[2].weight.zero_()
    assert rv.load(path)[2].weight.tolist() == model[2].weight.tolist()


def test_numbers_at_odd_places(path):
    header = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
    header += b'"b":{"dtype":"F64","shape":[1],"data_offsets":[1,9]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\7" + np.float64(1.5).tobytes())
    back = rv.load(path)
    assert (back["a"].tolist(), back["b"].tolist()) == ([7], [1.5])
    assert back["b"]._array.flags.aligned
