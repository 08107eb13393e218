"""Files that PyTorch writes, read here, and the reverse: every layer, optimizer and schedule, bit for bit."""

import io
import pickle
from collections import Counter, OrderedDict

import numpy as np
import pytest
import ranvier as rv
from optim.test_lr_scheduler import CASES as SCHEDULES, advance, optimizer_of, schedules_of
from ranvier.torch import files
from samples import layer_samples
from support.optimizers import KINDS
from support.refused import refused

torch = pytest.importorskip("torch", reason="torch is not installed")

LAYERS = [sample for sample in layer_samples() if hasattr(torch.nn, type(sample.args[0]).__name__)]
OTHERS = {"TripletMarginWithDistanceLoss"}  # has a layer where PyTorch's file has None, and the reverse
# with all arrays of state
OPTIMIZERS = {
    name: {setting: type(kind._defaults[setting])(0.9) for setting in kind._optional.values()}
    for name, kind in [*KINDS.items(), ("LBFGS", rv.optim.LBFGS)]
    if hasattr(torch.optim, name)
}
WITH_CODE = ("LambdaLR", "MultiplicativeLR", "CyclicLR")  # functions, methods of PyTorch's classes


def theirs(value, zipped=True, **settings):
    """The values that this library reads from PyTorch's file."""
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=zipped)
    stream.seek(0)
    return rv.load(stream, **settings)


def ours(value, zipped=True, **settings):
    """The values that PyTorch reads from this library's file."""
    stream = io.BytesIO()
    files.save(value, stream, _use_new_zipfile_serialization=zipped)
    stream.seek(0)
    return torch.load(stream, **settings)


def require_same(a, b, path=""):
    """The same structure, types, shapes, strides and bits."""
    if isinstance(a, (torch.Tensor, rv.Tensor)):
        assert type(a).__name__ == type(b).__name__, path
        assert str(a.dtype).removeprefix("torch.") == str(b.dtype).removeprefix("torch."), path
        assert (tuple(a.shape), a.stride(), a.requires_grad) == (tuple(b.shape), b.stride(), b.requires_grad)
        assert a.detach().numpy().tobytes() == b.detach().numpy().tobytes(), path
    elif isinstance(a, (dict, list, tuple)):
        assert (type(a).__name__, len(a)) == (type(b).__name__, len(b)), path
        if isinstance(a, dict):
            assert list(a) == list(b), path
        for key in a if isinstance(a, dict) else range(len(a)):
            require_same(a[key], b[key], f"{path}.{key}")
    elif callable(a):
        assert getattr(a, "__name__", repr(a)) == getattr(b, "__name__", repr(b)), path
    else:
        assert type(a) is type(b), path
        assert a == b or a != a, path  # NaN


def attributes(module):
    """Those that a file holds, with parameters that are there."""
    state = dict(vars(module))
    state.pop("_flat_weight_refs", None)
    state.pop("_arguments", None)
    kept = {name: value for name, value in state.get("_parameters", {}).items() if value is not None}
    return {**state, **({"_parameters": dict(sorted(kept.items()))} if "_parameters" in state else {})}


def in_torch(value):
    if isinstance(value, (list, tuple)):
        return type(value)(map(in_torch, value))
    return torch.tensor(value.numpy()) if isinstance(value, rv.Tensor) else value


@pytest.mark.parametrize("sample", LAYERS, ids=str)
def test_layers(sample):
    here, there = (sample.layer_in(library) for library in (rv, torch))
    require_same(there.state_dict(), theirs(there.state_dict()))
    require_same(here.state_dict(), ours(here.state_dict()))
    there.load_state_dict(ours(here.state_dict()))
    written, read = ours(here, weights_only=False), theirs(there, weights_only=False)
    assert (type(written), type(read)) == (type(there), type(here))
    require_same(there.state_dict(), written.state_dict())
    require_same(dict(there.state_dict()), dict(read.state_dict()))
    if type(here).__name__ in OTHERS:
        return
    assert (str(written), str(read)) == (str(there), str(here))
    a, b = attributes(written), attributes(there)
    assert a.keys() == b.keys()
    for name in a:
        require_same(b[name], a[name], name)
    assert vars(read).keys() == vars(here).keys()
    args = sample.tensors(rv.float32, records=False).args[1:]
    for inputs, layers in ((args, (here, read)), (in_torch(args), (there, written))):
        x, y = (layer.eval()(*inputs) for layer in layers)
        x, y = (z[0] if isinstance(z, tuple) else z for z in (x, y))
        np.testing.assert_array_equal(x.detach().numpy(), y.detach().numpy())


def stepped(library, name, settings, optimizer=None, steps=2):
    """An optimizer after steps with given gradients, or a loaded one after more of them."""
    rng = np.random.default_rng(steps)
    if optimizer is None:
        arrays = [rng.normal(size=shape).astype(np.float32) for shape in ((5, 4), (4,), ())]
        parameters = [library.nn.Parameter(library.tensor(a)) for a in arrays]
        optimizer = getattr(library.optim, name)(parameters, lr=0.01, **settings)
    parameters = optimizer.param_groups[0]["params"]
    for _ in range(steps):
        for p in parameters:
            p.grad = library.tensor(rng.normal(size=tuple(p.shape)).astype(np.float32))
        optimizer.step(
            lambda: sum((p * p).sum() for p in parameters)
        ) if name == "LBFGS" else optimizer.step()
    return optimizer


def values(optimizer):
    return [p.detach().numpy() for p in optimizer.param_groups[0]["params"]]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    settings = OPTIMIZERS[name]
    here, there = (stepped(library, name, settings) for library in (rv, torch))
    require_same(there.state_dict(), theirs(there.state_dict()))
    loaded = ours(here.state_dict())
    for index, state in here.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, loaded["state"][index][key].numpy())
    fresh = [stepped(library, name, settings, steps=0) for library in (rv, torch)]
    for new, state in zip(fresh, (theirs(there.state_dict()), ours(here.state_dict())), strict=True):
        new.load_state_dict(state)
    assert str(fresh[1].state_dict()["state"].keys()) == str(there.state_dict()["state"].keys())
    if name == "LBFGS":  # PyTorch's pickle of it lacks what its steps need
        return
    read, written = theirs(there, weights_only=False), ours(here, weights_only=False)
    again = rv.load(_stream(here), weights_only=False)
    for new, library in ((read, rv), (written, torch), (again, rv), (here, rv), (there, torch)):
        stepped(library, name, settings, new, steps=3)
    for new in (read, written, there):
        for x, y in zip(values(here), values(new), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)
    for x, y in zip(values(here), values(again), strict=True):
        np.testing.assert_array_equal(x, y)


def _stream(value):
    stream = io.BytesIO()
    files.save(value, stream)
    stream.seek(0)
    return stream


def begun(library, name):
    optimizer = optimizer_of(library)
    return optimizer, schedules_of(library, name, optimizer)


def rates(optimizer, schedules, steps):
    taken = []
    for step in steps:
        advance(schedules, step)
        taken += [group["lr"] for group in optimizer.param_groups]
    return pytest.approx(taken, rel=1e-12, abs=1e-18)


@pytest.mark.filterwarnings("ignore:Seems like .optimizer.step")  # a loaded one makes none
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    here, there = begun(rv, name), begun(torch, name)
    assert rates(*here, range(3)) == rates(*there, range(3)).expected
    for mine, other in zip(here[1], there[1], strict=True):
        require_same(other.state_dict(), theirs(other.state_dict()))
        require_same(mine.state_dict(), ours(mine.state_dict()))
    pairs = [begun(rv, name), begun(torch, name)]
    for new, read, old in zip(pairs, (theirs, ours), (there, here), strict=True):
        for part, saved in zip([new[0], *new[1]], [old[0], *old[1]], strict=True):
            part.load_state_dict(read(saved.state_dict()))
    if not name.startswith(WITH_CODE):
        pairs += [theirs(there, weights_only=False), ours(here, weights_only=False)]
    wanted = rates(*here, range(3, 12))
    for pair in pairs:
        assert rates(*pair, range(3, 12)) == wanted.expected


@pytest.mark.parametrize("zipped", [True, False])
def test_values(zipped):
    base = torch.arange(12.0)
    value = {
        "base": base,
        "part": base[2:8].view(2, 3).t(),
        "weight": torch.nn.Parameter(base[:3]),
        "frozen": torch.nn.Parameter(base[3:], requires_grad=False),
        "leaf": torch.ones(2, 2, requires_grad=True),
        "wide": torch.ones(1).expand(5),
        "images": torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "empty": torch.empty(0, 3),
        "number": torch.tensor(3),
        "half": torch.ones(2, dtype=torch.half),
        "bytes": torch.get_rng_state(),
        "flags": torch.tensor([True, False]),
        "list": [1, 2.5, "x", None, True, (1, (2,)), b"ab", bytearray(b"cd"), 2**70, -5, 1 + 2j],
        "ordered": OrderedDict(a=1),
        "counter": Counter("aab"),
    }
    if zipped:  # PyTorch cannot read it in an old file
        value["unsigned"] = torch.ones(2, dtype=torch.uint16)
    read = theirs(value, zipped)
    require_same(value, read)
    require_same(value, ours(read, zipped))
    read["base"][2] = 100
    assert (read["part"][0, 0].item(), read["weight"][2].item()) == (100, 100)
    again = ours(read, zipped)
    again["base"][2] = 7
    assert (again["part"][0, 0].item(), again["weight"][2].item()) == (7, 7)
    others = theirs({"size": torch.Size([2, 3]), "dtype": torch.int16, "device": torch.device("cpu")}, zipped)
    assert others == {"size": rv.Size((2, 3)), "dtype": rv.int16, "device": rv.device("cpu")}
    assert ours(others, zipped) == {"size": (2, 3), "dtype": torch.int16, "device": torch.device("cpu")}
    brain = torch.randn(1000).to(torch.bfloat16)
    read = theirs({"brain": brain, "part": brain[3:9:2]}, zipped)
    assert (read["brain"].dtype, read["brain"].tolist()) == (rv.bfloat16, brain.tolist())
    back = ours(read, zipped)
    assert torch.equal(back["brain"], brain)
    back["brain"][5] = 2
    assert back["part"][1] == 2


def hook(*args):
    """A hook of any kind."""


def test_hooks():
    def hooked(library):
        layer = library.nn.Linear(2, 2)
        layer.register_forward_hook(hook, with_kwargs=True, always_call=True)
        layer.register_forward_pre_hook(hook)
        layer.register_full_backward_hook(hook)
        layer.register_state_dict_pre_hook(hook)
        layer.register_state_dict_post_hook(hook)
        layer.register_load_state_dict_pre_hook(hook)
        layer.register_load_state_dict_post_hook(hook)
        return layer

    def counts(layer):
        return {
            name: len(value)
            for name, value in vars(layer).items()
            if "_hook" in name and isinstance(value, dict)
        }

    there = hooked(torch)
    for layer in (
        ours(hooked(rv), weights_only=False),
        ours(theirs(there, weights_only=False), weights_only=False),
    ):
        assert counts(layer) == counts(there)
        layer.load_state_dict(layer.state_dict())
        layer(torch.ones(1, 2, requires_grad=True)).sum().backward()


def test_files_in_the_folder(tmp_path):
    path = tmp_path / "weights.pth"
    files.save({"x": rv.arange(5)}, path)
    assert torch.load(path, mmap=True)["x"].tolist() == [0, 1, 2, 3, 4]
    torch.save({"x": torch.arange(5)}, path)
    assert rv.load(path, mmap=True)["x"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_numbers(dtype, old, tmp_path):
    path, z = tmp_path / "z", torch.randn(3, 4, dtype=dtype)
    torch.save([z.T, z[1:], torch.nn.Parameter(z)], path, _use_new_zipfile_serialization=not old)
    for _ in range(2):
        found = rv.load(path)
        for x, wanted in zip(found, [z.T, z[1:], z], strict=True):
            assert (x.dtype.name, x.tolist()) == (str(dtype)[6:], wanted.tolist())
        files.save(found, path, _use_new_zipfile_serialization=not old)
    found = torch.load(path)
    assert found[0].dtype == dtype
    assert torch.equal(found[0], z.T)
    assert torch.equal(found[2].data, z)


def test_types_that_tensors_lack():
    with pytest.raises(ValueError, match=r"lack|Unsupported global"):
        theirs(torch.ones(2).to(torch.float8_e4m3fn))
    refused(ValueError, "Unsupported global", theirs, torch.ones(2).to_sparse())


def _old(length):
    torch.save({"a": torch.ones(9)}, file := io.BytesIO(), _use_new_zipfile_serialization=False)
    return file.getvalue()[:length]


@pytest.mark.parametrize("weights_only", [True, False])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"<!DOCTYPE html>",
        b'{"error": 1}',
        bytes(100),
        b"PK\3\4" + bytes(9),
        b"\x1f\x8b\x08",
        b"GGUF" + bytes(50),
        pickle.dumps(3, 2)[:-1],
        pickle.dumps([3], 2),
        _old(40),
        _old(-9),
    ],
    ids=range(12),  # of an old file they would have addresses: another name in each process
)
def test_the_error_of_a_file_is_of_pytorchs_class(tmp_path, content, weights_only):
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(Exception) as there:  # noqa: PT011
        torch.load(path, weights_only=weights_only)
    with pytest.raises(there.type):
        rv.load(path, weights_only=weights_only)


LARGE = np.ones((9, 1), np.float32)


@pytest.mark.parametrize(
    ("changed", "settings"),
    [
        *(({"0.weight": LARGE}, settings) for settings in ({}, {"strict": False}, {"assign": True})),
        ({"0.weight": LARGE, "0.bias": None, "x": LARGE}, {}),
        ({"0.bias": None, "x": LARGE}, {"strict": False}),
        ({}, {}),
    ],
)
def test_loading_a_state_that_does_not_fit(changed, settings):
    """None: the name is missing. The texts are equal, and what was loaded."""
    found = []
    for library, array in ((torch, torch.from_numpy), (rv, rv.from_numpy)):
        net = library.nn.Sequential(library.nn.Linear(2, 3), library.nn.Linear(3, 1))
        for value in net.state_dict().values():
            value.zero_()
        full = {name: np.ones(tuple(x.shape), np.float32) for name, x in net.state_dict().items()}
        state = {name: array(x) for name, x in (full | changed).items() if x is not None}
        try:
            text = repr(net.load_state_dict(state, **settings))
        except RuntimeError as error:
            text = str(error).removeprefix("[load_state_dict] ")
        found.append((text, {name: x.tolist() for name, x in net.state_dict().items()}))
    assert found[0] == found[1]
