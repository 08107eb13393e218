"""CIFAR-10 is read from its archive or its files, and downloaded like the other sets; damage is named."""

import gzip
import hashlib
import io
import tarfile

import numpy as np
import pytest
from ranvier.data import datasets
from ranvier.data.datasets import downloads
from support.refused import refused

NAMES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


@pytest.fixture
def files():
    """The six files with four images each, and the images and labels in them."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 4, 3, 32, 32), np.uint8)
    labels = rng.integers(0, 10, (6, 4), np.uint8)
    records = np.concatenate([labels[..., None], images.reshape(6, 4, -1)], axis=2)
    return {name: batch.tobytes() for name, batch in zip(NAMES, records, strict=True)}, images, labels


def write_files(folder, contents):
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def archive(contents):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as packed:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("form", ["archive", "files", "folder of files"])
def test_reads(tmp_path, files, form):
    contents, images, labels = files
    if form == "archive":
        (tmp_path / "cifar-10-binary.tar.gz").write_bytes(archive(contents))
    else:
        write_files(tmp_path if form == "files" else tmp_path / "cifar-10-batches-bin", contents)
    (x, y), (x_test, y_test) = datasets.load_cifar10(tmp_path)
    assert x.shape == (20, 3, 32, 32)
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    assert np.array_equal(np.rint(x * 255), images[:5].reshape(20, 3, 32, 32))
    assert np.array_equal(y, labels[:5].reshape(20))
    assert np.array_equal(np.rint(x_test * 255), images[5])
    assert np.array_equal(y_test, labels[5])


def test_downloads(tmp_path, files, monkeypatch):
    packed = archive(files[0])
    cached = tmp_path / "cifar10" / "cifar-10-binary.tar.gz"
    cached.parent.mkdir()
    cached.write_bytes(packed)  # as pooch has left it: with the right checksum it is not downloaded again
    md5 = {cached.name: hashlib.md5(packed).hexdigest()}
    monkeypatch.setitem(downloads.SOURCES, "cifar10", downloads.Source("http://127.0.0.1:9/", md5))
    monkeypatch.setenv("RANVIER_DATA", str(tmp_path))
    assert datasets.load_cifar10()[0][0].shape == (20, 3, 32, 32)
    cached.unlink()
    with pytest.raises(ConnectionError, match=r"could not download .* place cifar-10-binary.tar.gz in"):
        datasets.load_cifar10()


def test_what_is_missing_is_named(tmp_path, files):
    contents = dict(files[0])
    del contents["data_batch_3.bin"]
    write_files(tmp_path, contents)
    with pytest.raises(FileNotFoundError, match=r"nothing to read in .* expected cifar-10-binary.tar.gz, or"):
        datasets.load_cifar10(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "has 12291 bytes; expected a multiple of 3073"),
        (lambda content: b"", "has 0 bytes"),
        (lambda content: b"\x0a" + content[1:], "holds label 10; expected 0 to 9"),
    ],
)
def test_damaged_files_are_refused(tmp_path, files, damage, message):
    contents = dict(files[0])
    contents["test_batch.bin"] = damage(contents["test_batch.bin"])
    write_files(tmp_path, contents)
    refused(ValueError, message, datasets.load_cifar10, tmp_path)


@pytest.mark.parametrize("kind", ["cut", "lacks a file", "not an archive", "not a tar"])
def test_damaged_archives_are_refused(tmp_path, files, kind):
    contents = files[0]
    packed = {
        "cut": archive(contents)[:40000],
        "lacks a file": archive({name: contents[name] for name in NAMES[:3]}),
        "not an archive": b"something else",
        "not a tar": gzip.compress(b"something else" * 1000),
    }[kind]
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(packed)
    refused(ValueError, "is cut off, damaged or another archive", datasets.load_cifar10, tmp_path)
