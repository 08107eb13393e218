"""Downloads, from a server on this machine: checked, cached, and with errors that say what to do by hand."""

import hashlib
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from ranvier.data import datasets
from ranvier.data.datasets import downloads
from support.mnist_files import write_mnist
from support.refused import refused


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
