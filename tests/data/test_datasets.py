"""Data sets: the built-in ones equal scikit-learn's, files of MNIST's form are read or refused with what is
wrong in them, and downloads are checked."""

import gzip
import hashlib
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from ranvier.data import datasets
from ranvier.data.datasets import downloads
from support.mnist_files import idx, write_mnist
from support.refused import refused

MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"


def test_digits_and_iris_equal_sklearns():
    sklearn = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    x, y = datasets.load_digits()
    assert np.array_equal(x.reshape(-1, 64) * 16, sklearn.load_digits().data)
    assert np.array_equal(y, sklearn.load_digits().target)
    x, y = datasets.load_iris()
    assert np.array_equal(x, sklearn.load_iris().data.astype(np.float32))
    assert np.array_equal(y, sklearn.load_iris().target)


def test_the_sources_of_the_shipped_files_are_named():
    folder = Path(datasets.__file__).parent / "files"
    text = (folder / "SOURCES.txt").read_text()
    for file in folder.glob("*.npz"):
        assert file.name in text
    assert text.count("CC BY 4.0") == 2


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("load", [datasets.load_mnist, datasets.load_fashion_mnist])
def test_mnist_reads_its_files(tmp_path, load, packed):
    parts = write_mnist(tmp_path, packed=packed)
    (x, y), (xt, yt) = load(tmp_path)
    assert x.shape == (30, 1, 28, 28)
    assert x.dtype == np.float32
    assert np.array_equal(np.rint(x[:, 0] * 255), parts["train"][0])
    assert np.array_equal(y, parts["train"][1])
    assert xt.shape == (10, 1, 28, 28)
    assert np.array_equal(yt, parts["t10k"][1])


def test_mnist_names_what_is_missing(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    refused(FileNotFoundError, "lacks t10k-labels-idx1-ubyte, plain or as .gz", datasets.load_mnist, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"\[load_fashion_mnist\] .* lacks t10k-labels-idx1-ubyte"):
        datasets.load_fashion_mnist(tmp_path)
    refused(FileNotFoundError, "no folder", datasets.load_mnist, tmp_path / "nowhere")


def test_mnist_rejects_files_that_do_not_belong_together(tmp_path):
    write_mnist(tmp_path, packed=False)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(idx(np.zeros(29, np.uint8)))
    with pytest.raises(ValueError, match=r"holds 30 images and .* 29 labels"):
        datasets.load_mnist(tmp_path)
    labels.write_bytes(idx(np.full(30, 10, np.uint8)))
    refused(ValueError, "holds label 10; expected 0 to 9", datasets.load_mnist, tmp_path)
    labels.write_bytes(idx(np.zeros((30, 1), np.uint8)))
    refused(ValueError, "of shape (30, 1); expected uint8 of shape (n,)", datasets.load_mnist, tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((30, 28), np.uint8)))
    refused(ValueError, "expected uint8 of shape (n, 28, 28)", datasets.load_mnist, tmp_path)


@pytest.mark.slow
def test_real_mnist():
    if not MNIST.is_dir():
        pytest.skip(f"the MNIST files are not in {MNIST}")
    (x, y), (xt, yt) = datasets.load_mnist(MNIST)
    assert x.shape == (60000, 1, 28, 28)
    assert xt.shape == (10000, 1, 28, 28)
    assert y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert yt[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


# --- the IDX format


@pytest.mark.parametrize(
    ("code", "dtype"), [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")]
)
def test_idx_types(tmp_path, code, dtype):
    array = np.arange(-3, 3).astype(dtype).reshape(2, 3)
    path = tmp_path / "file"
    path.write_bytes(idx(array, code))
    back = datasets.read_idx(path)
    assert back.dtype == array.dtype
    assert back.dtype.isnative
    assert np.array_equal(back, array)


GOOD = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds 0 bytes"),
        (b"\0\0\x08", "holds 3 bytes"),
        (b"PK\x03\x04" + GOOD, "begins with bytes 50 4b 03 04"),
        (b"\0\0\x07\x01\0\0\0\0", "begins with bytes 00 00 07 01"),
        (GOOD[:10], "cut off inside its header of 12 bytes"),
        (GOOD[:-1], r"is cut off: its header promises 6 bytes of shape \(2, 3\), it holds 5"),
        (GOOD + b"\0", "is too long: .* promises 6 bytes .* holds 7"),
        (b"\0\0\x08\x04" + b"\xff" * 16, "is cut off"),
        (b"\0\0\x08\xff" + bytes(4 * 255), "has a header of shape"),
        (b"\0\0\x08\x04" + bytes(4) + b"\xff" * 12, "has a header of shape"),
        (gzip.compress(GOOD, mtime=0)[:-9], "damaged or cut off gzip file"),
        (gzip.compress(GOOD, mtime=0)[:15] + b"\0" * 20, "damaged or cut off gzip file"),
        (gzip.compress(GOOD[:-1], mtime=0), "is cut off"),
    ],
)
def test_idx_errors(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"\[read_idx\] .*{message}"):
        datasets.read_idx(path)


# Downloads, from a server on this machine: checked, cached, and with errors that say what to do by hand.


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A server with a small MNIST, the table pointing at it; yields (folder served, folder of the cache)."""
    folder, cache = tmp_path / "served", tmp_path / "cache"
    folder.mkdir()
    write_mnist(folder)
    md5 = {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    source = downloads.Source(f"http://127.0.0.1:{server.server_port}/", md5)
    monkeypatch.setitem(downloads.SOURCES, "mnist", source)
    monkeypatch.setenv("RANVIER_DATA", str(cache))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield folder, cache / "mnist"
    server.shutdown()
    server.server_close()
    thread.join()


def test_mnist_downloads_once(served):
    folder, cache = served
    (x, _), (_, yt) = datasets.load_mnist()
    assert x.shape == (30, 1, 28, 28)
    assert yt.tolist() == list(range(10))
    assert sorted(file.name for file in cache.iterdir()) == sorted(file.name for file in folder.iterdir())
    for file in folder.iterdir():
        file.unlink()  # what is cached is not downloaded again
    (again, _), _ = datasets.load_mnist()
    assert np.array_equal(x, again)


def test_fashion_mnist_downloads_from_its_own_address(served, monkeypatch):
    assert len(datasets.FASHION_MNIST_CLASSES) == 10
    assert set(downloads.SOURCES["fashion_mnist"].md5) == set(downloads.SOURCES["mnist"].md5)
    monkeypatch.setitem(downloads.SOURCES, "fashion_mnist", downloads.SOURCES["mnist"])
    _, cache = served
    (x, _), _ = datasets.load_fashion_mnist()
    assert x.shape == (30, 1, 28, 28)
    assert (cache.parent / "fashion_mnist" / "t10k-labels-idx1-ubyte.gz").is_file()


def test_a_wrong_file_is_refused_and_not_kept(served):
    folder, cache = served
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"something else")
    refused(ValueError, "train-images-idx3-ubyte.gz is not the expected file", datasets.load_mnist)
    assert not (cache / "train-images-idx3-ubyte.gz").exists()


def test_no_network_names_the_files_and_the_folder(served, monkeypatch):
    _, cache = served
    nobody = downloads.Source("http://127.0.0.1:9/", downloads.SOURCES["mnist"].md5)
    monkeypatch.setitem(downloads.SOURCES, "mnist", nobody)
    with pytest.raises(ConnectionError) as error:
        datasets.load_mnist()
    message = str(error.value)
    assert message.startswith("[load_mnist] could not download http://127.0.0.1:9/")
    assert str(cache) in message
    for file in nobody.md5:
        assert file in message


def test_missing_pooch_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    refused(ImportError, "pip install 'ranvier[data]'; or place train-images", datasets.load_mnist)
