"""Files of PyTorch without PyTorch: those of the folder `pytorch`, and those that were written here.

`again(value)` saves a value in PyTorch's format and loads it; what comes back is compared with what went in.
"""

import io
import os
import pickle
import zipfile
from collections import OrderedDict, defaultdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.torch import files
from support.refused import refused

FILES = Path(__file__).parent / "pytorch"


def written(value, **settings):
    stream = io.BytesIO()
    files.save(value, stream, **settings)
    stream.seek(0)
    return stream


def again(value, **settings):
    return rv.load(written(value), **settings)


@pytest.mark.parametrize("name", ["weights.pt", "old.pt"])
def test_values_and_shared_memory(name):
    values = rv.load(FILES / name)
    assert type(values) is OrderedDict
    x, part, brain = values["x"], values["part"], values["brain"]
    assert x.tolist() == [0, 1, 2, 3, 4, 5]
    assert part.tolist() == [[2, 4], [3, 5]]
    assert (part.stride(), part.storage_offset(), part.dtype) == ((1, 2), 2, np.float32)
    assert (brain.tolist(), brain.dtype) == ([1.5, -3.0], rv.bfloat16)
    assert values["about"] == {"epoch": 3, "names": ("a", None), "size": (2, 3), "dtype": rv.float64}
    assert isinstance(values["about"]["size"], rv.Size)
    x[3] = -1
    assert part[1, 0].item() == -1
    if name == "old.pt":
        assert (values["empty"].shape, values["number"].item()) == ((0, 3), 7)
        assert (values["half"].tolist(), values["half"].dtype) == ([1.5, -2.0], np.float16)
        assert type(values["weight"]) is nn.Parameter
        assert (values["weight"].tolist(), values["weight"].requires_grad) == ([True, False], False)


def test_floats_in_another_dtype():
    for wanted in (rv.float16, rv.bfloat16, rv.float32, rv.float64):
        values = rv.load(FILES / "old.pt", dtype=wanted)
        assert {values[name].dtype for name in ("x", "part", "brain", "half")} == {np.dtype(wanted)}
        assert values["number"].dtype == np.int64
        values["x"][3] = 9
        assert values["part"][1, 0].item() == 9
    refused(TypeError, "expected one of floating numbers", rv.load, FILES / "old.pt", dtype=rv.int64)


def test_a_tape_sees_a_change_of_shared_memory():
    values = rv.load(FILES / "weights.pt")
    w = rv.ones(2, 2, requires_grad=True)
    y = (w * values["part"]).sum()
    values["x"].zero_()
    refused(RuntimeError, "inplace", y.backward)


def test_the_other_byte_order():
    values = rv.load(FILES / "big.pt")
    assert (values["x"].tolist(), values["n"].tolist()) == ([1.0, 2.0], [3, 4])
    assert values["x"].dtype.isnative
    brain, swapped = written(rv.tensor([1.5, -3.0]).bfloat16()), io.BytesIO()
    with zipfile.ZipFile(brain) as little, zipfile.ZipFile(swapped, "w") as big:
        for name in little.namelist():
            data = little.read(name)
            big.writestr(
                name, b"big" if name.endswith("byteorder") else data[::-1] if "/data/" in name else data
            )
    swapped.seek(0)
    assert rv.load(swapped).tolist() == [-3.0, 1.5]


def test_mapped_memory_is_that_of_the_process(tmp_path):
    path = tmp_path / "x.pt"
    files.save({"x": rv.arange(4.0), "none": rv.zeros(0)}, path)
    before = path.read_bytes()
    values = rv.load(path, mmap=True)
    values["x"][0] = 5
    assert values["x"].tolist() == [5, 1, 2, 3]
    assert path.read_bytes() == before
    many = tmp_path / "many.pt"
    files.save([rv.ones(3).bfloat16() for _ in range(50)], many)
    before = [*Path("/proc/self/fd").glob("*")]
    values = rv.load(many, mmap=True)
    assert len([*Path("/proc/self/fd").glob("*")]) <= len(before) + 1
    many.unlink()
    assert {x.untyped_storage().nbytes() for x in values} == {6}
    assert [x.tolist() for x in values] == [[1.0] * 3] * 50
    refused(ValueError, "of which nothing can be mapped", rv.load, FILES / "old.pt", mmap=True)
    with path.open("rb") as stream:
        refused(ValueError, "expected a path", rv.load, stream, mmap=True)


def test_into_a_model_and_devices():
    model = nn.Linear(2, 1)
    rv.load(written(model.state_dict()), into=model)
    other = rv.load(written(nn.Linear(2, 1).state_dict()), "cpu")
    assert rv.load(written(other), into=model).weight.tolist() == other["weight"].tolist()
    rv.load(written(other), map_location=lambda storage, place: storage)
    refused(ValueError, "does not fit the model", rv.load, written({"w": rv.ones(1)}), into=model)
    refused(ValueError, "expected 'cpu'", rv.load, written(other), map_location="cuda:0")


def test_a_whole_module():
    refused(pickle.UnpicklingError, "torch.nn.modules.linear.Linear", rv.load, FILES / "module.pt")
    model = rv.load(FILES / "module.pt", weights_only=False)
    assert type(model) is nn.Linear
    assert (model.training, model(rv.ones(1, 2)).item()) == (False, 3.0)
    with rv.serialization.safe_globals([nn.Linear, set]):
        assert str(rv.load(FILES / "module.pt")) == str(model)
    again(model, weights_only=False)
    rv.load(written(model, _use_new_zipfile_serialization=False), weights_only=False)


class Tied(nn.Module):
    """A module with a tied weight, two buffers, a function and a hook."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 2, bias=False)
        self.b = nn.Linear(2, 2, bias=False)
        self.b.weight = self.a.weight
        self.register_buffer("kept", rv.ones(1))
        self.register_buffer("lost", rv.zeros(1), persistent=False)
        self.activation = nn.functional.gelu
        self.a.register_forward_hook(double)


def double(module, args, output):
    return output * 2


def test_tied_weights_buffers_and_hooks():
    model = again(Tied(), weights_only=False)
    assert model.a.weight is model.b.weight
    assert list(model.state_dict()) == ["kept", "a.weight", "b.weight"]
    assert model.activation is nn.functional.gelu
    x = rv.ones(1, 2)
    assert (model.a(x) - 2 * model.b(x)).tolist() == [[0.0, 0.0]]
    state = again(model.state_dict())
    state["a.weight"].zero_()
    assert not state["b.weight"].any()


class Assigned(nn.Linear):
    def __setstate__(self, state):  # as some libraries do
        self.__dict__ = state
        self.seen = True


def test_a_module_that_takes_its_state_itself():
    layer = Assigned(2, 1)
    with rv.serialization.safe_globals([Assigned, nn.Sequential]):
        safe = again(nn.Sequential(layer))[0]
    for read in (safe, again(nn.Sequential(layer), weights_only=False)[0]):
        assert read.seen
        assert read(rv.ones(1, 2)).tolist() == layer(rv.ones(1, 2)).tolist()


def before_saving(module, prefix, keep_vars):
    module.log.append("before saving")


def after_saving(module, state, prefix, about):
    state["extra"] = rv.ones(1)


def before_loading(module, state, prefix, *rest):
    module.log.append("before loading")
    state.pop("extra", None)


def after_loading(module, keys):
    module.log.append("after loading")


def test_hooks_on_state_dicts():
    layer = nn.Linear(1, 1)
    layer.log = []
    layer.register_state_dict_pre_hook(before_saving)
    layer.register_state_dict_post_hook(after_saving)
    layer.register_load_state_dict_pre_hook(before_loading)
    layer.register_load_state_dict_post_hook(after_loading)
    assert b"torch.nn.modules.module\n_WrappedHook" in written(layer).getvalue()
    for read in (
        again(layer, weights_only=False),
        again(again(layer, weights_only=False), weights_only=False),
    ):
        state = read.state_dict()
        assert list(state) == ["weight", "bias", "extra"]
        read.load_state_dict(state)
        assert read.log == ["before saving", "before loading", "after loading"]


def test_tensors_with_attributes_and_of_subclasses():
    x = rv.ones(2)
    x.unit = "m"
    assert again(x).unit == "m"
    weight = nn.Parameter(rv.ones(2))
    weight.unit = "s"
    assert (again(weight).unit, type(again(weight))) == ("s", nn.Parameter)
    mine = again(Mine([1.0]), weights_only=False)
    assert (type(mine), mine.tolist()) == (Mine, [1.0])


class Mine(rv.Tensor):
    pass


def test_strides_and_types():
    wide = rv.ones(1, 3).expand(4, 3)
    assert (again(wide).stride(), again(wide).shape) == ((0, 1), (4, 3))
    flipped = rv.from_numpy(np.arange(3.0)[::-1])
    assert again(flipped).tolist() == [2, 1, 0]
    for dtype in ("float16", "float64", "int8", "int16", "int32", "uint8", "bool", "uint16", "uint64"):
        x = rv.from_numpy(np.array([[0, 1, 1]], dtype))
        assert (again(x).dtype, again(x).tolist()) == (x.dtype, x.tolist())
    assert again({"n": np.float64(2.5), "a": np.arange(3)})["a"].tolist() == [0, 1, 2]
    x = rv.arange(4.0)
    refused(RuntimeError, "expected one type", files.save, [x, x.view(rv.int32)], io.BytesIO())


def test_containers():
    value = {
        "set": {1, 2},
        "frozen": frozenset("a"),
        "bytes": (b"\xff\0", bytearray(b"x")),
        "numbers": [2**70, -1, 1.5, 1 + 2j, True, None],
        "default": defaultdict(list, a=[1]),
        ("a", 1): rv.device("cpu"),
    }
    for protocol in (2, 3, 4, 5):
        assert rv.load(written(value, pickle_protocol=protocol)) == value
        x = rv.load(written({"x": rv.ones(2), "d": rv.float32}, pickle_protocol=protocol))
        assert (x["x"].tolist(), x["d"]) == ([1, 1], rv.float32)


def test_the_state_of_an_optimizer_goes_on():
    def run(steps, state=None):
        p = nn.Parameter(rv.tensor([1.0, 2.0]))
        optimizer = rv.optim.Adam([p], lr=0.1)
        if state:
            optimizer.load_state_dict(state["optimizer"])
            p.data = state["p"]
        for _ in range(steps):
            optimizer.zero_grad()
            (p**2).sum().backward()
            optimizer.step()
        return {"p": p.detach(), "optimizer": optimizer.state_dict()}

    state = again(run(2))
    assert isinstance(state["optimizer"]["state"][0]["exp_avg"], rv.Tensor)
    assert state["optimizer"]["state"][0]["step"].dtype == rv.float32  # as PyTorch's
    assert run(2, state)["p"].tolist() == run(4)["p"].tolist()


def test_what_programs_allow():
    third = Fraction(1, 3)
    stream = written(third)
    refused(pickle.UnpicklingError, "Unsupported global: GLOBAL fractions.Fraction", rv.load, stream)
    assert rv.load(stream, weights_only=False) == third  # a refused file can be tried again
    assert again(third, pickle_module=pickle) == third
    with rv.serialization.safe_globals([Fraction]):
        assert again(third) == third
    rv.serialization.add_safe_globals([(Fraction, "fractions.Fraction"), os.system])
    try:
        assert again(third) == third
        refused(pickle.UnpicklingError, "posix.system", again, os.system)
    finally:
        rv.serialization.clear_safe_globals()
    assert rv.serialization.get_safe_globals() == []


def test_streams():
    stream = io.BytesIO()
    for number in (1, 2):
        files.save(rv.tensor(number), stream, _use_new_zipfile_serialization=False)
    stream.seek(0)
    assert [rv.load(stream).item(), rv.load(stream).item()] == [1, 2]
    behind = io.BytesIO(b"xyz" + written(rv.ones(1)).getvalue())
    behind.seek(3)
    assert rv.load(behind).tolist() == [1]

    class Pipe(io.RawIOBase):
        rest = written(rv.ones(2)).getvalue()

        def readable(self):
            return True

        def readinto(self, buffer):
            part, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
            buffer[: len(part)] = part
            return len(part)

    assert rv.load(io.BufferedReader(Pipe())).tolist() == [1, 1]


def test_the_archive_can_be_mapped_by_pytorch(tmp_path):
    files.save({"x": rv.ones(3), "y": rv.zeros(5)}, tmp_path / "name.pt")
    with zipfile.ZipFile(tmp_path / "name.pt") as archive:
        assert {entry.filename.split("/")[0] for entry in archive.infolist()} == {"name"}
        assert archive.read("name/version") == b"3\n"
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            head = (tmp_path / "name.pt").read_bytes()[entry.header_offset + 26 :]
            start = entry.header_offset + 30 + int.from_bytes(head[:2], "little")
            assert (start + int.from_bytes(head[2:4], "little")) % 64 == 0


def test_what_cannot_be_written(tmp_path):
    refused(TypeError, "expected a path or a file", files.save, 1, 1)
    refused(ValueError, "expected Python's pickle", files.save, 1, tmp_path / "x", pickle_module=zipfile)
    refused(ValueError, "expected 2 or more", files.save, 1, tmp_path / "x", pickle_protocol=1)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        files.save(lambda: None, tmp_path / "x")
    refused(pickle.PicklingError, "a lazy layer", files.save, nn.LazyLinear(2), tmp_path / "x")
    assert not list(tmp_path.iterdir())
