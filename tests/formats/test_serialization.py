"""Model files: what goes in comes out, and a failed write leaves the old file.

A model is saved and loaded again: its state must have the same bits, dtypes and names, its layers the same
text.
"""

import io

import numpy as np
import pytest
import ranvier as rv
import safetensors.numpy as numpy
from ranvier import nn
from ranvier.data import MinMaxScaler, Standardize, transforms
from ranvier.serialization import info
from support.refused import refused
from support.training import cnn


class OwnNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.body(x))


def arrays_of(model):
    return {name: np.array(value.numpy(force=True)) for name, value in model.state_dict().items()}


def assert_same_state(a, b):
    a, b = arrays_of(a), arrays_of(b)
    assert list(a) == list(b)
    for name in a:
        assert a[name].dtype == b[name].dtype
        assert np.array_equal(a[name], b[name]), name


# --- models


def test_a_model_of_our_layers_comes_back(path):
    model = cnn().eval()
    rv.save(model, path)
    back = rv.load(path)
    assert_same_state(model, back)
    assert repr(back) == repr(model)
    x = np.random.default_rng(0).normal(size=(5, 1, 8, 8)).astype(np.float32)
    assert np.array_equal(back(x).numpy(force=True), model(x).numpy(force=True))


def test_loading_leaves_the_random_numbers_alone(path):
    rv.save(cnn(), path)
    rv.manual_seed(1)
    expected = rv.rand(3).tolist()
    rv.manual_seed(1)
    rv.load(path)
    assert rv.rand(3).tolist() == expected


def test_modes_are_kept(path):
    model = cnn().eval()
    model[0].train()
    model[0].bias.requires_grad_(False)
    rv.save(model, path)
    back = rv.load(path)
    assert [m.training for m in back.modules()] == [m.training for m in model.modules()]
    assert [p.requires_grad for p in back.parameters()] == [p.requires_grad for p in model.parameters()]


def test_dtypes_are_kept(path):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1).double()).float()
    model[1].double()
    rv.save(model, path)
    assert_same_state(rv.load(path), model)


def test_shared_layers_and_tied_weights_stay_shared(path):
    shared = nn.Linear(3, 3)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(3, 3))
    model[3].weight = shared.weight
    rv.save(model, path)
    back = rv.load(path)
    assert back[0] is back[2]
    assert back[3].weight is back[0].weight
    assert_same_state(model, back)


def test_information_beside_the_weights(path):
    scores = Standardize().fit(np.random.default_rng(0).normal(size=(9, 4)))
    rv.save(
        nn.Linear(4, 2),
        path,
        input_shape=(4,),
        class_names=["no", "yes"],
        preprocessing=[MinMaxScaler(0, 16), scores],
    )
    about = info(path)
    assert about == info(rv.load(path))
    assert about.input_shape == (4,)
    assert about.class_names == ["no", "yes"]
    assert about.version == rv.__version__
    first, second = (transforms.from_config(step) for step in about.preprocessing)
    assert first.transform([[8.0]]).tolist() == [[0.5]]
    assert np.array_equal(second.mean, scores.mean)


def test_information_survives_a_second_save(path, tmp_path):
    rv.save(nn.Linear(4, 2), path, class_names=["no", "yes"])
    model = rv.load(path)
    rv.save(model, tmp_path / "again", input_shape=[4])
    about = info(tmp_path / "again")
    assert about.class_names == ["no", "yes"]
    assert about.input_shape == (4,)


def test_safetensors_itself_can_read_it(path):
    model = cnn()
    rv.save(model, path)
    assert sorted(numpy.load_file(path)) == sorted(model.state_dict())


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model = cnn()
    rv.save(model, tmp_path / "a", class_names="ab")
    rv.save(model, tmp_path / "b", class_names="ab")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# --- classes of one's own


@pytest.mark.parametrize(
    "model", [OwnNet(), nn.Sequential(nn.Linear(2, 4), OwnNet())], ids=["root", "inside"]
)
def test_own_class_is_named_and_into_suggested(path, model):
    rv.save(model, path)
    with pytest.raises(ValueError, match=r"has the class .*OwnNet, .*rv.load\(path, into=model\)"):
        rv.load(path)


def test_settings_that_were_changed_after_the_layer_was_made(path):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout())
    model[0].stride, model[0].padding, model[1].eps, model[2].p = (2, 2), (1, 1), 0.5, 0.9
    model[0].name = "first"  # no setting
    rv.save(model, path)
    assert repr(rv.load(path)) == repr(model)
    assert_same_state(model, rv.load(path))
    block, linear = nn.TransformerEncoderLayer(4, 2, 8), nn.Linear(4, 4)
    block.norm2.eps, block.dropout1, linear.forward = 0.5, nn.Tanh(), linear.weight.matmul
    for changed, names in ((block, "norm2.eps, dropout1"), (nn.Sequential(linear), "forward")):
        rv.save(changed, path)
        with pytest.raises(ValueError, match=rf"with another {names}.*rv.load\(path, into=model\)"):
            rv.load(path)


def test_load_into(path):
    model, other = OwnNet(), OwnNet()
    rv.save(model, path, class_names=["a", "b"])
    assert rv.load(path, into=other) is other
    assert_same_state(model, other)
    assert info(other).class_names == ["a", "b"]


def test_a_subclass_of_our_layer_is_not_ours(path):
    class Linear(nn.Linear):
        pass

    rv.save(nn.Sequential(Linear(2, 2)), path)
    refused(ValueError, "which is not part of ranvier", rv.load, path)


def test_load_into_a_model_that_does_not_fit(path):
    rv.save(nn.Linear(4, 2), path)
    for wrong in (nn.Linear(3, 2), OwnNet()):
        with pytest.raises(ValueError, match=rf"does not fit the model of type {type(wrong).__name__}"):
            rv.load(path, into=wrong)
    refused(TypeError, "got into of type int", rv.load, path, into=3)


# --- dicts


def test_state_dict(path):
    state = cnn().state_dict()
    rv.save(state, path)
    back = rv.load(path)
    assert type(back) is dict
    assert list(back) == list(state)
    assert all(isinstance(value, rv.Tensor) for value in back.values())
    model = cnn()
    model.load_state_dict(back)
    assert all(
        np.array_equal(value.numpy(force=True), state[name].numpy(force=True)) for name, value in back.items()
    )


def test_nested(path):
    given = {
        "model": {"w": np.ones((2, 3)), "a.b": np.float32(1.5)},
        "model.w": np.zeros(2, np.int64),
        "optimizer": {
            "state": {0: {"step": 3, "m": rv.ones(2)}},
            "groups": [{"lr": 0.1, "betas": (0.9, 0.999)}],
        },
        "epoch": 7,
        "best": float("inf"),
        "nothing": None,
        "flag": True,
        "name": "run",
        "empty": {},
        "scalar": np.array(2.0),
        "none": np.zeros((0, 3), np.float32),
    }
    rv.save(given, path)
    back = rv.load(path)
    assert list(back) == list(given)
    assert np.array_equal(back["model"]["w"], np.ones((2, 3)))
    assert np.array_equal(back["model.w"], [0, 0])
    assert back["model.w"].dtype == np.int64
    assert back["optimizer"]["state"][0]["step"] == 3
    assert isinstance(back["optimizer"]["state"][0]["m"], rv.Tensor)
    assert back["optimizer"]["groups"] == given["optimizer"]["groups"]
    assert {key: back[key] for key in ("epoch", "best", "nothing", "flag", "name", "empty")} == {
        key: given[key] for key in ("epoch", "best", "nothing", "flag", "name", "empty")
    }
    assert back["scalar"].shape == ()
    assert back["none"].shape == (0, 3)


@pytest.mark.parametrize(
    "dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", ">f4", ">i8"]
)
def test_types_and_byte_orders(path, dtype):
    array = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)
    for view in (array, array.T, array[:, ::2], array[::-1]):
        rv.save({"x": view}, path)
        back = rv.load(path)["x"]
        assert back.dtype == view.dtype.newbyteorder("=")
        assert np.array_equal(back, view)


def test_a_file_of_another_library(path):
    numpy.save_file({"w": np.ones(2)}, path, {"format": "pt"})
    assert rv.load(path)["w"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, object()], "got object at '1'"),
        ({"x": object()}, "got object at 'x'"),
        ({(1, 2): 3}, "dict with key"),
        ({"x": np.array(["a"])}, "array 'x' of dtype <U1"),
        ({"x": np.ones(2, complex)}, "array 'x' of dtype complex128"),
        ({"x": np.datetime64(1, "ns")}, "datetime64 at 'x'"),
    ],
)
def test_what_cannot_be_saved(path, given, message):
    refused(TypeError, message, rv.save, given, path)
    assert not path.exists()


# --- written whole or not at all


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        rv.save({"x": 1}, tmp_path / "no" / "file")
    with pytest.raises(FileNotFoundError):
        rv.load(tmp_path / "no" / "file")
    with pytest.raises(IsADirectoryError):
        rv.load(tmp_path)


def test_the_name_that_safetensors_reserves(tmp_path):
    rv.save({"__metadata__": rv.ones(2), "a": rv.zeros(1)}, tmp_path / "file")
    assert rv.load(tmp_path / "file")["__metadata__"].tolist() == [1.0, 1.0]
    model = rv.nn.Module()
    model.register_buffer("__metadata__", rv.ones(1))
    with pytest.raises(ValueError, match="an array named '__metadata__', which safetensors reserves"):
        rv.save(model, tmp_path / "model")


def test_bfloat16_of_another_library(path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    halves = torch.tensor([[1.5, -2.25, 3.0e38], [float("inf"), 0.1, -0.0]]).bfloat16()
    save_file({"half": halves, "whole": torch.arange(3), "0": halves[0, 1].clone()}, path)
    back = rv.load(path)
    assert {name: x.dtype for name, x in back.items()} == {
        "half": rv.bfloat16,
        "whole": rv.int64,
        "0": rv.bfloat16,
    }
    assert back["half"].tolist() == halves.tolist()
    rv.save(back, path)
    assert torch.equal(load_file(path)["half"], halves)
    assert back["0"].item() == -2.25
    layer = nn.Linear(3, 2, bias=False)
    save_file({"weight": halves}, path)
    rv.load(path, layer)
    assert layer.weight.tolist() == halves.float().tolist()


@pytest.mark.parametrize("types", ["numpy", "ml_dtypes"])
def test_bfloat16_bits(path, types):
    """As above, without PyTorch. With the package ml_dtypes, NumPy has a bfloat16."""
    pytest.importorskip(types)
    header = b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x80\x3f\x20\xc0")
    a = rv.load(path)["a"]
    assert (a.tolist(), a.dtype) == ([1.0, -2.5], rv.bfloat16)
    rv.save(
        {"a": a, "kind": rv.bfloat16, "none": a[:0], "number": a[1], "column": rv.stack([a, a])[:, 1]}, path
    )
    back = rv.load(path)
    assert {x.dtype for name, x in back.items() if name != "kind"} == {back["kind"]} == {rv.bfloat16}
    assert (back["none"].shape, back["number"].item(), back["column"].tolist()) == ((0,), -2.5, [-2.5, -2.5])
    header = header.replace(b"BF16", b"F8_E4M3").replace(b"[2]", b"[4]")
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    refused(ValueError, "holds values of a type that Tensors lack", rv.load, path)


def test_several_in_one_open_file(path):
    with open(path, "wb") as file:
        file.write(b"head")
        rv.save({"a": rv.ones(2)}, file)
        rv.save({}, file)
        rv.save(nn.Linear(2, 1), file)
        file.write(b"tail")
    with open(path, "rb") as file:
        file.seek(4)
        assert rv.load(file)["a"].tolist() == [1.0, 1.0]
        assert rv.load(file) == {}
        assert isinstance(rv.load(file), nn.Linear)
        refused(ValueError, f"[load] '{path}' is text that begins 'tail'", rv.load, file)
    refused(ValueError, "[load] the open file is text that begins '12345", rv.load, io.BytesIO(b"12345678{}"))
    with open(path, "w") as file:
        refused(TypeError, "[save] got a file opened for text", rv.save, {}, file)
    with open(path) as file:
        refused(TypeError, "[load] got a file opened for text", rv.load, file)


def test_tensors_of_a_dict_keep_what_they_are(path):
    made = {
        "leaf": rv.ones(2, requires_grad=True),
        "made": rv.ones(2, requires_grad=True) * 2,
        "parameter": nn.Parameter(rv.ones(2)),
        "frozen": nn.Parameter(rv.ones(2), requires_grad=False),
        "plain": rv.arange(2),
    }
    rv.save(made, path)
    back = rv.load(path)
    assert [type(x) for x in back.values()] == [rv.Tensor, rv.Tensor, nn.Parameter, nn.Parameter, rv.Tensor]
    assert [x.requires_grad for x in back.values()] == [True, True, True, False, False]
    assert all(x.is_leaf for x in back.values())
    assert back["made"].tolist() == [2.0, 2.0]
    (back["leaf"] * 3).sum().backward()
    assert back["leaf"].grad.tolist() == [3.0, 3.0]


def test_memory_that_runs_out_is_no_damaged_file(tmp_path, monkeypatch):
    rv.save(rv.nn.Linear(2, 1), tmp_path / "m.safetensors")

    def none_left(*args, **settings):
        raise MemoryError

    monkeypatch.setattr(rv.nn.Linear, "__init__", none_left)
    with pytest.raises(MemoryError):
        rv.load(tmp_path / "m.safetensors")


def test_objects_that_are_saved_in_another_way(tmp_path):
    class Estimator:
        def get_params(self):
            return {}

        def fit(self, x, y):
            return self

    with pytest.raises(TypeError, match=r"got the estimator Estimator, .*pickle.dump\(estimator, file\)"):
        rv.save(Estimator(), tmp_path / "a.safetensors")
    trainer = rv.Trainer(rv.nn.Linear(1, 1), "mse", "sgd")
    with pytest.raises(TypeError, match=r"got a Trainer, which saves itself; expected trainer.save\(path\)"):
        rv.save(trainer, tmp_path / "a.safetensors")
