"""What every reader does with a path that is no file, with nesting, and with names of a megabyte."""

import io
import itertools
import json
import os
import random
import socket
import struct
import zipfile

import numpy as np
import pytest
import ranvier as rv
from formats.forger import GOOD, damaged
from ranvier import nn
from ranvier.data import load as load_data
from ranvier.data.datasets import load_csv, load_images, load_npy, load_npz, read_idx, read_image
from ranvier.data.vision.datasets import ImageFolder
from ranvier.data.vision.datasets.folder import default_loader
from ranvier.serialization import info
from ranvier.serialization.files import KEY
from ranvier.tensors.reading import LONGEST, reading, shortened
from ranvier.torch.files import get_unsafe_globals_in_checkpoint
from ranvier.torch.operators.image_ops import decode_image, read_file
from support.python import printed
from support.refused import refused

READERS = {  # name -> (ending, function)
    "load": (".safetensors", rv.load),
    "load of PyTorch": (".pt", rv.load),
    "into": (".safetensors", lambda path: rv.load(path, nn.Linear(2, 2))),
    "info": (".safetensors", info),
    "names": (".pt", get_unsafe_globals_in_checkpoint),
    "trainer": (".safetensors", lambda path: rv.Trainer(nn.Linear(2, 2), "mse", "sgd").load(path)),
    "gguf": (".gguf", rv.load_gguf),
    "data": (".csv", load_data),
    "csv": (".csv", load_csv),
    "csv.gz": (".csv.gz", load_csv),
    "npy": (".npy", load_npy),
    "npz": (".npz", load_npz),
    "idx": ("", read_idx),
    "image": (".png", read_image),
    "loader": (".png", default_loader),
    "bytes": (".png", read_file),
    "onnx": (".onnx", rv.onnx.load),
}
NEEDS = {
    "image": "PIL",
    "loader": "PIL",
    "csv": "pandas",
    "csv.gz": "pandas",
    "data": "pandas",
    "onnx": "onnx",
}


@pytest.fixture(params=READERS)
def reader(request):
    pytest.importorskip(NEEDS.get(request.param, "numpy"))
    return READERS[request.param]


@pytest.mark.timeout(20)
def test_what_is_no_file(reader, tmp_path):
    """A device has no end, and a pipe waits: both are refused before they are opened."""
    ending, read = reader
    pipe = tmp_path / f"pipe{ending}"
    os.mkfifo(pipe)
    link = tmp_path / f"link{ending}"
    link.symlink_to(pipe)
    device = tmp_path / f"device{ending}"
    device.symlink_to("/dev/zero")
    place = str(tmp_path / f"socket{ending}")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(place)
    for path, kind in ((pipe, "a pipe"), (link, "a pipe"), (device, "a device"), (place, "a socket")):
        with pytest.raises(ValueError, match=f"which is {kind}; expected a file"):
            read(path)
    listening.close()


def test_missing_files_and_folders(reader, tmp_path):
    ending, read = reader
    missing = tmp_path / f"missing{ending}"
    kinds = (RuntimeError,) if read is read_file else (FileNotFoundError,)  # as torchvision's
    with pytest.raises(kinds):
        read(missing)
    folder = tmp_path / f"folder{ending}"
    folder.mkdir()
    with pytest.raises((OSError, ValueError)):
        read(folder)
    around = tmp_path / f"around{ending}"
    around.symlink_to(around)
    with pytest.raises((OSError, ValueError)):
        read(around)


def safetensors_file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def document(content):
    text = content if isinstance(content, str) else json.dumps(content)
    return safetensors_file({"__metadata__": {KEY: text}})


def model_of(node):
    return document({"version": 1, "content": "model", "tied": {}, "model": node})


NAME = "n" * 2**20
DEEP = {
    "lists": safetensors_file(b"[" * 5000),
    "metadata": safetensors_file(b'{"__metadata__":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "objects": safetensors_file(b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "version": document('{"version": ' + "[" * 5000 + "]" * 5000 + "}"),
    **{
        f"model of {depth}": document(
            '{"version": 1, "content": "model", "tied": {}, "model": '
            + '{"layer": "Sequential", "children": [["0", ' * depth
            + '{"layer": "ReLU", "arguments": {}}'
            + "]]}" * depth
            + "}"
        )
        for depth in (400, 600, 5000)
    },
    **{
        f"{content} of {depth}": document(
            f'{{"version": 1, "content": "{content}", "checksum": 0, "{content}": '
            + '{"list": [' * depth
            + "]}" * depth
            + "}"
        )
        for depth in (480, 600, 5000)
        for content in ("dict", "checkpoint")
    },
}
LONG = {
    "array": safetensors_file({NAME: {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}, b"1"),
    "dtype": safetensors_file({"a": {"dtype": NAME, "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "library": document({"version": 999, "library": NAME}),
    "content": document({"version": 1, "content": NAME}),
    "layer": model_of({"layer": NAME}),
    "class": model_of({"custom": NAME}),
    "argument": model_of({"layer": "Linear", "arguments": {NAME: 3}}),
    "mode": model_of({"layer": "Conv2d", "arguments": {"padding_mode": NAME}}),
    "part": model_of({"layer": "Sequential", "children": [[f"{NAME}.", {}]]}),
    "same": model_of({"same": NAME}),
    "missing array": document({"version": 1, "content": "dict", "dict": {"array": NAME}}),
    "form": document({"version": 1, "content": "dict", "dict": {NAME: NAME}}),
}


@pytest.mark.parametrize("content", [*DEEP.values(), *LONG.values()], ids=[*DEEP, *LONG])
def test_deep_and_long_safetensors(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    for read in (rv.load, lambda path: rv.load(path, nn.Linear(2, 2))):
        with pytest.raises(ValueError, match=r"^\[load\] ") as error:
            read(path)
        assert len(str(error.value)) <= LONGEST
    with open(path, "rb") as stream, pytest.raises(ValueError, match=r"^\[load\] "):
        rv.load(stream)


def test_names_that_do_not_fit_the_model(tmp_path):
    rv.save({f"{i} {'x' * 90}": rv.ones(1) for i in range(1000)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="does not fit the model of type Linear") as error:
        rv.load(tmp_path / "a.safetensors", nn.Linear(2, 2))
    assert len(str(error.value)) <= LONGEST


TABLES = {
    "names": ",".join(f"{'c' * 50}{i}" for i in range(2000)) + "\n" + ",".join(["1"] * 1999) + "\n",
    "cell": "a,y\n1,2\n3,4\n" * 20 + f"{NAME},3\n",
    "two columns of a name": f"{NAME},{NAME}\n1,2\n3,4\n",
    "open quote": f'a,b\n"{NAME}',
}


@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES)
def test_long_cells(tmp_path, text):
    pytest.importorskip("pandas")
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=r"^\[load_csv\] ") as error:
        load_csv(tmp_path / "a.csv")
    assert len(str(error.value)) <= LONGEST


def test_long_names_of_arrays(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as file:
        for i in range(9):
            np.save(stream := io.BytesIO(), np.ones(2))
            file.writestr(f"{'n' * 60_000}{i}.npy", stream.getvalue())
    with pytest.raises(ValueError, match="expected x and y") as error:
        load_npz(path)
    assert len(str(error.value)) <= LONGEST
    np.savez(path, x=np.ones(2), y=np.arange(2), **{f"{'n' * 9000}{i}": np.ones(1) for i in range(9)})
    with pytest.warns(UserWarning, match="not used") as said:
        load_npz(path)
    assert len(str(said[0].message)) <= LONGEST


def test_steps_of_preprocessing_that_are_none():
    for config in ([], "x", 5):
        refused(ValueError, "expected a dict", rv.data.transforms.from_config, config)


# --- folders
def picture(path):
    pytest.importorskip("PIL.Image").new("RGB", (2, 2)).save(path)


@pytest.mark.timeout(30)
def test_folders_that_link_to_each_other(tmp_path):
    """Two folders with two links to each other have 2**40 paths, thirty in a row with two links 2**30."""
    for here, there in (("a", "b"), ("b", "a")):
        (tmp_path / here).mkdir()
        picture(tmp_path / here / f"{here}.png")
        for link in "pq":
            (tmp_path / here / link).symlink_to(tmp_path / there)
    chain = [tmp_path / "a" / f"c{i}" for i in range(30)]
    for folder in chain:
        folder.mkdir()
    for folder, following in itertools.pairwise(chain):
        for link in "pq":
            (folder / link).symlink_to(following)
    picture(chain[-1] / "last.png")
    read = load_images(tmp_path)
    names = [os.path.basename(path) for path in read.files]
    assert read.class_names == ("a", "b")
    assert [sorted(n for n, y in zip(names, read.y, strict=True) if y == k) for k in (0, 1)] == [
        ["a.png", "b.png", "last.png"],
        ["a.png", "b.png", "last.png"],
    ]
    assert len(ImageFolder(tmp_path)) == 6


def test_links_to_a_folder_are_entered(tmp_path):
    (tmp_path / "images" / "one").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    picture(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "images" / "one" / "link").symlink_to(tmp_path / "elsewhere")
    assert len(load_images(tmp_path / "images")) == 1
    [(path, number)] = ImageFolder(tmp_path / "images").samples
    assert path.endswith("one/link/a.png")
    assert number == 0


# --- pictures
def gif(width, height, frames):
    frame = b"\x2c" + struct.pack("<4H", 0, 0, 1, 1) + b"\x00\x02\x02\x44\x01\x00"
    head = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    return head + frame * frames + b";"


def test_frames_count_as_pixels(tmp_path):
    pytest.importorskip("PIL")
    given = [np.frombuffer(gif(*size), np.uint8).copy() for size in ((8000, 8000, 14), (2000, 2000, 100))]
    for content in given:
        refused(ValueError, "pixels, far more than", decode_image, rv.from_numpy(content), 0)
    shown = decode_image(rv.from_numpy(np.frombuffer(gif(20, 10, 3), np.uint8).copy()), 0)
    assert shown.shape == (3, 3, 10, 20)


@pytest.mark.parametrize("number", range(60))
def test_damaged_bytes_of_pictures(number):
    pytest.importorskip("PIL")
    content = damaged("picture", random.Random(number)) or b"x"
    with reading("decode_image", "bytes"):  # refused with a short text, or read
        try:
            shape = decode_image(rv.from_numpy(np.frombuffer(content, np.uint8).copy()), 0).shape
        except ValueError as error:
            text = str(error)
        else:
            text = str(shape)
    assert len(text) <= LONGEST


# --- texts of what was read
def test_text_of_an_expanded_tensor():
    """It takes memory for the elements that are shown alone."""
    code = """
import resource, ranvier as rv
x = rv.ones(1).expand(10**9)
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
print(x)
print(rv.ones(1).expand(10**5, 10**5))
print(rv.ones(1).expand(*[2] * 36))
"""
    lines = printed("-c", code).splitlines()
    assert lines[0] == "tensor([1., 1., 1.,  ..., 1., 1., 1.])"
    assert lines[1] == "tensor([[1., 1., 1.,  ..., 1., 1., 1.],"
    assert lines[-1] == "tensor([...])"


def test_states_of_generators():
    deep = rv.from_numpy(np.frombuffer(b"[" * 10**5, np.uint8).copy())
    refused(RuntimeError, "which are not of get_state", rv.Generator().set_state, deep)


# --- the gate
@pytest.mark.parametrize(
    "error",
    [RecursionError(), RuntimeError("x"), KeyError("x"), TypeError("x"), OSError("x"), OSError(22, "x")],
)
def test_errors_of_a_parser(error):
    with (
        pytest.raises(ValueError, match=r"^\[load\] 'a.bin' is damaged, or no such file: "),
        reading("load", "a.bin"),
    ):
        raise error


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError(2, "x"), PermissionError(13, "x"), OSError(5, "x"), ImportError("x"), MemoryError()],
)
def test_errors_that_pass(error):
    with pytest.raises(type(error)) as raised, reading("load", "a.bin"):
        raise error
    assert raised.value is error


def test_texts_are_short_and_printable():
    with pytest.raises(ValueError, match=r"^\[load\] got ") as error, reading("load", "a.bin"):
        raise ValueError("[load] got \x1b[2J" + NAME + "; expected less")
    text = str(error.value)
    assert len(text) <= LONGEST
    assert text.isprintable()
    assert text.endswith("; expected less")
    assert shortened("abc") == "abc"


def test_every_kind_of_the_forger_is_read():
    assert {"pt", "old", "model", "safetensors", "gguf", "npy", "npz", "csv", "idx", "picture"} <= {*GOOD}


TAKE_PATHS = {
    "Trainer.load": rv.Trainer.load,
    "export.c": lambda path: rv.export.c(rv.nn.Linear(2, 1), path, rv.zeros(1, 2)),
    "load_mnist": rv.data.datasets.load_mnist,
    "read_idx": rv.data.datasets.read_idx,
    "MNIST": rv.data.vision.datasets.MNIST,
    "CIFAR10": rv.data.vision.datasets.CIFAR10,
    "ImageFolder": rv.data.vision.datasets.ImageFolder,
    "Trainer.fit": lambda path: fitted(resume=path),
}


def fitted(**settings):
    trainer = rv.Trainer(rv.nn.Linear(1, 1), "mse", "sgd")
    return trainer.fit(np.ones((2, 1)), np.ones((2, 1)), epochs=1, verbose=0, **settings)


@pytest.mark.parametrize("name", TAKE_PATHS)
def test_a_number_is_no_path(name, tmp_path):
    """To the system it is a file that the process has open, which a reader would take and close."""
    with open(tmp_path / "own", "wb") as stream:
        for wrong in (stream.fileno(), True, rv.zeros(1)):
            refused(TypeError, f"[{name}] got ", TAKE_PATHS[name], wrong)
        stream.write(b"still open")
    assert (tmp_path / "own").read_bytes() == b"still open"
