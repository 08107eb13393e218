"""Damaged and hostile model files: no file, whatever it holds, does more than raise.

Each file is made wrong in one way; rv.load must raise the error that says so, within its bounds of time and
memory.
"""

import fractions
import gzip
import io
import itertools
import json
import pickle
import re
import zipfile

import numpy as np
import pytest
import ranvier as rv
import safetensors.numpy
from ranvier import nn
from ranvier.serialization import files
from ranvier.torch import files as files_of_pytorch
from support.refused import refused
from support.training import cnn


def _npy():
    np.save(file := io.BytesIO(), np.ones(3))
    return file.getvalue()


def _zipped(*names):
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        for name in names:
            archive.writestr(name, b"1")
    return file.getvalue()


def test_cut_off_anywhere(path):
    rv.save(cnn(), path)
    content = path.read_bytes()
    for length in (*range(0, 40), *range(40, len(content), 97), len(content) - 1):
        path.write_bytes(content[:length])
        message = r"\[load\] .*(is empty|not a safetensors file, or is cut off or)"
        with pytest.raises(ValueError, match=message):
            rv.load(path)


def test_a_state_dict_that_lacks_an_array(path):
    model = nn.Linear(2, 3)
    rv.save(model.state_dict(), path)
    arrays, document = files.read(path)
    del arrays["weight"]
    files.write(path, arrays, document)
    for into in (None, model):
        with pytest.raises(ValueError, match=r"\[load\] '.*safetensors'.*: array 'weight' is missing"):
            rv.load(path, into=into)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty: the download"),
        (b"\xff" * 64, "not a safetensors file"),
        (b"\0" * 64, "holds only zeros"),
        (b"{}" * 30, "is text that begins '{}{}"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n", "is a pointer of Git LFS"),
        (b"\xef\xbb\xbfversion https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (b"<!DOCTYPE html><html></html>", "is a page of HTML"),
        (b"\n  <html>", "is a page of HTML"),
        (b"<?xml version='1.0'?><Error/>", "is XML"),
        (b'{"error":"Repository not found"}', 'is text that begins \'{"error":"Repository not found"}\''),
        (b"Entry not found", "is text that begins 'Entry not found'"),
        (b'{"metadata": {}, "weight_map": {}}', "is the index of a model in several files"),
        (_npy(), "is an array of NumPy (.npy); np.load reads it"),
        (_zipped("a.npy"), "it is one of NumPy (.npz); np.load reads it"),
        (_zipped("sub/model.pt"), "it holds the file 'sub/model.pt'; unpack it"),
        (_zipped("config.json", "model.weights.h5"), "it is one of Keras"),
        (_zipped("a.txt"), "expected one entry data.pkl; got 'a.txt'"),
        (_zipped("m/data.pkl", "m/constants.pkl"), "is an archive of TorchScript"),
        (gzip.compress(b"1", mtime=0), "is compressed by gzip; unpack it"),
        (b"BZh9", "is compressed by bzip2"),
        (b"\xfd7zXZ\0", "is compressed by xz"),
        (b"(\xb5/\xfd", "is compressed by zstd"),
        (b"7z\xbc\xaf\x27\x1c", "is an archive of 7-Zip or RAR"),
        (b"storages".ljust(257, b"\0") + b"ustar", "a tar archive, the form of PyTorch's files before 0.4"),
        (b"model.pt".ljust(257, b"\0") + b"ustar", "is a tar archive; unpack it"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        (b"GGUF\3\0\0\0", "is a GGUF file"),
        (b"\x1c\0\0\0TFL3", "is a TensorFlow Lite file"),
        (b"\x08\x08\x12\x07pytorch", "is an ONNX file; rv.onnx.load"),
        (b"\x89PNG\r\n", "is of a kind that is not read: it begins b'\\x89PNG"),
        (pickle.dumps([1], 0), "holds a pickle; rv.load reads those of torch.save"),
        (b"\x80\x04K\x01.", "holds no file of PyTorch"),
        (pickle.dumps(fractions.Fraction(1, 2)), "a pickle that torch.save did not write"),
        (b"PK\x03", "is a zip archive, or a part of one"),
        (b"PK\x03\x04" + b"\0" * 50, "a zip archive that is cut off or damaged"),
    ],
    ids=itertools.count(),
)
def test_other_files(path, content, said):
    path.write_bytes(content)
    for file in (path, io.BytesIO(content)):
        with pytest.raises(ValueError, match=re.escape(said)) as caught:
            rv.load(file)
        # of PyTorch's classes; EOFError for an empty file alone
        assert isinstance(caught.value, RuntimeError), caught.value
        assert isinstance(caught.value, pickle.UnpicklingError)
        assert isinstance(caught.value, EOFError) == (not content)


@pytest.mark.parametrize("weights_only", [True, False])
def test_an_old_file_that_ends_early(path, weights_only):
    files_of_pytorch.save({"a": rv.ones(100)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    for length in range(2, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises((RuntimeError, EOFError), match=r"^\[load\] '.*' .*(damaged|cut off)"):
            rv.load(path, weights_only=weights_only)


def test_booleans_of_other_bytes(path):
    safetensors.numpy.save_file({"x": np.array([0, 1, 2, 255], np.uint8).view(bool)}, path)
    assert (rv.load(path)["x"] * 3).tolist() == [0, 3, 3, 3]


def test_complex_numbers(path):
    safetensors.numpy.save_file({"x": np.ones(2, np.complex64)}, path)
    refused(ValueError, "values of a type that Tensors lack: 'C64'", rv.load, path)


def test_a_file_opened_for_text(path):
    path.write_bytes(b"\x88" * 9)
    with open(path) as stream:
        refused(TypeError, "a file opened for text", rv.load, stream)


def forged(path, **changes):
    """A saved model whose metadata are changed."""
    model = nn.Sequential(nn.Linear(2, 3))
    rv.save(model, path)
    arrays, document = files.read(path)
    document.update(changes)
    version = document.pop("version")
    files.write(path, arrays, {"version": version, **document})
    return path


LINEAR = {"in_features": 2, "out_features": 3, "bias": True}
ENCODER = {"layer": "TransformerEncoderLayer", "arguments": {"d_model": 4, "nhead": 2}}


def sequence(*layers):
    return {"layer": "Sequential", "children": [[str(i), layer] for i, layer in enumerate(layers)]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "has format version 2, written by ranvier .*upgrade"),
        ({"version": "1"}, "metadata without a version"),
        ({"version": 0}, "metadata without a version"),
        ({"content": "code"}, "unknown content 'code'"),
        ({"model": None}, "has no description"),
        ({"model": [1]}, "has no description"),
        ({"model": {"layer": "os.system", "arguments": {}}}, "'os.system', which ranvier.nn does not have"),
        ({"model": {"layer": "Module", "arguments": {}}}, "is of type 'Module'"),
        ({"model": {"layer": "Linear"}}, "arguments that it refuses"),
        ({"model": {"layer": "Linear", "arguments": 3}}, "arguments that it refuses"),
        ({"model": {"layer": "Linear", "arguments": {"no": 1}}}, "arguments that it refuses"),
        ({"model": {"layer": "Sequential", "children": 3}}, "arguments that it refuses"),
        ({"model": {"layer": "Sequential", "children": [["a.b", {}]]}}, "a part with the name 'a.b'"),
        ({"model": sequence({"same": "7"})}, "the same as '7', which does not come before it"),
        ({"model": sequence({"layer": "Linear", "arguments": LINEAR | {"in_features": 4}})}, "not belong"),
        ({"model": sequence({"layer": "ReLU", "arguments": {}})}, "do not belong together"),
        ({"tied": {"0.weight": "nowhere"}}, "said to be tied"),
        ({"tied": {"0.weight": []}}, "said to be tied"),
        ({"model": sequence({"same": []})}, "has no description"),
        ({"tied": 3}, "table of tied weights is damaged"),
        ({"frozen": ["0.weight", []]}, "list of frozen weights is damaged"),
    ],
)
def test_forged_metadata(path, changes, message):
    with pytest.raises(ValueError, match=rf"\[load\] .*{message}"):
        rv.load(forged(path, **changes))


@pytest.mark.parametrize("size", [10**6, 10**9, 10**18, 10**30, -5])
def test_sizes_beyond_the_file_take_no_memory(path, size):
    layer = {"layer": "Linear", "arguments": {**LINEAR, "in_features": size, "out_features": size}}
    refused(ValueError, "[load]", rv.load, forged(path, model=sequence(layer)))


@pytest.mark.parametrize(
    ("layer", "arguments"),
    [
        ("BatchNorm1d", {"num_features": 10**9}),
        ("PReLU", {"num_parameters": 10**9}),
        ("GroupNorm", {"num_groups": 1, "num_channels": 10**9}),
        ("LSTM", {"input_size": 1, "hidden_size": 1, "num_layers": 900}),
        ("TransformerEncoder", {"encoder_layer": ENCODER, "num_layers": 10**5}),
    ],
)
def test_numbers_beyond_the_file_take_no_time(path, layer, arguments):
    """Layers that fill their weights, or are made of many layers."""
    node = sequence({"layer": layer, "arguments": arguments})
    refused(ValueError, "and the file has weights of 9 elements", rv.load, forged(path, model=node))


NORM = {"layer": "BatchNorm2d", "arguments": {"num_features": 2**20}}


def twice(times, path="0"):
    """Each layer is in two places."""
    if not times:
        return {"layer": "ReLU", "arguments": {}}
    children = [["a", twice(times - 1, f"{path}.a")], ["b", {"same": f"{path}.a"}]]
    return {"layer": "Sequential", "children": children}


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([NORM] * 100, "far more work or memory"), ([NORM], "far more work or memory"),
        ([twice(40)], "far more work or memory"),
        ([{"layer": "TransformerEncoder", "arguments": {"encoder_layer": ENCODER, "num_layers": 9}}] * 200,
         "far more work or memory"),
        ([{"layer": "Conv2d", "arguments": {"in_channels": 2**19, "out_channels": 2**19,
           "kernel_size": [1000, 1000]}}], "a layer has sizes"),
        ([{"layer": "Conv2d", "arguments": {"in_channels": 1, "out_channels": 1, "kernel_size": 1,
           "padding_mode": "\x1b[2J"}}], r"the argument '\\x1b\[2J', with control codes"),
        ([{"layer": "Sequential", "children": [["\x1b[2J", LINEAR]]}], r"with the name '\\x1b"),
    ],
)  # fmt: skip
@pytest.mark.timeout(20)
def test_layers_that_ask_for_more_than_the_file(path, layers, said):
    with pytest.raises(ValueError, match=said):
        rv.load(forged(path, model=sequence(*layers)))


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"list": [{} for _ in range(10**5)]}, "far more work or memory"),
        ({"dict": [[2**64 + i, 0] for i in range(9)]}, "more than 64 bits"),
        ({"dict": [[i << 40, 0] for i in range(2 * 10**5)]}, "far more work or memory"),
        ({"array": "\x1b[2J"}, r"array '\\x1b\[2J' is missing"),
    ],
)
@pytest.mark.timeout(20)
def test_trees_that_ask_for_more_than_the_file(path, tree, said):
    document = json.dumps({"version": 1, "content": "dict", "dict": tree})
    safetensors.numpy.save_file({"x": np.ones(1)}, path, {files.KEY: document})
    for file in (path, io.BytesIO(path.read_bytes())):
        with pytest.raises(ValueError, match=said):
            rv.load(file)


def test_names_of_files_in_errors(path):
    """They do not reach the terminal as they are."""
    rv.save({"\x1b[2J": rv.ones(1)}, path)
    for call in (
        lambda: rv.load(path, nn.Linear(1, 1)),
        lambda: nn.Linear(1, 1).load_state_dict(rv.load(path)),
    ):
        with pytest.raises((ValueError, RuntimeError), match=r"\\x1b\[2J") as caught:
            call()
        assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("key", ["step", "optimizer", "__array_interface__", "__class__", 1])
def test_a_schedule_keeps_what_it_is(key):
    schedule = rv.optim.lr_scheduler.StepLR(rv.optim.SGD([nn.Parameter(rv.ones(1))], 0.1), 1)
    refused(ValueError, f"[StepLR] got the state {key!r}", schedule.load_state_dict, {key: {"a": 1}})


def test_metadata_nested_too_deeply(path):
    deep = '{"version": 1, "content": "dict", "dict": ' + '{"list": [' * 100_000 + "]}" * 100_000 + "}"
    safetensors.numpy.save_file({"x": np.ones(1)}, path, {files.KEY: deep})
    refused(ValueError, "[load]", rv.load, path)
    deep = '{"version": 1, "content": "dict", "dict": ' + '{"list": [' * 5_000 + "]}" * 5_000 + "}"
    safetensors.numpy.save_file({"x": np.ones(1)}, path, {files.KEY: deep})
    refused(ValueError, "[load]", rv.load, path)


@pytest.mark.parametrize(
    "tree",
    [
        {"tensor": "missing"}, {"dict": 3}, {"dict": [3]}, {"dict": [[[], 1]]}, {"list": {}}, {"eval": "1"},
        {}, [1],
    ],
)  # fmt: skip
def test_forged_dicts(path, tree):
    document = json.dumps({"version": 1, "content": "dict", "dict": tree})
    safetensors.numpy.save_file({"x": np.ones(1)}, path, {files.KEY: document})
    refused(ValueError, "[load]", rv.load, path)


def test_metadata_that_are_no_json(path):
    for text in ("", "{", "[1]", "3", '"x"'):
        safetensors.numpy.save_file({"x": np.ones(1)}, path, {files.KEY: text})
        with pytest.raises(ValueError, match=r"\[load\] .* metadata"):
            rv.load(path)


def test_a_header_that_begins_as_a_pickle(path):
    path.write_bytes((640).to_bytes(8, "little") + b'{"a"')  # 128 is also the first byte of a pickle
    with pytest.raises(ValueError, match=r"cut off or damaged: [^;]*$"):
        rv.load(path)
