"""Files of unknown origin: none does more than raise an error, or takes more than SECURITY.md says.

RANVIER_FUZZ_FILES: so many damaged files of each kind instead of 40, and half as many forged ones.
"""

import gzip
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from formats.forger import GOOD
from ranvier.data import load
from ranvier.data.datasets import read_image
from ranvier.tensors.sanitize import printable, settable
from ranvier.torch.functions.composed import frombuffer
from support.python import printed
from support.refused import refused

FILES = int(os.environ.get("RANVIER_FUZZ_FILES", "40"))
pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="it measures memory there")


@pytest.mark.timeout(120 + 2 * FILES)
@pytest.mark.parametrize("kind", GOOD)
def test_random_files(kind):
    pytest.importorskip("PIL" if kind == "picture" else "pandas")
    command, tests = ("-m", "formats.forger", kind, str(FILES), str(FILES // 2)), Path(__file__).parents[1]
    assert ": 0 wrong" in printed(*command, folder=tests, OMP_NUM_THREADS="1")


def test_printable():
    assert printable("a\tb\né") == "a\tb\né"
    assert printable("\x1b[2J\r\x9b\u202e\x07") == "\\x1b[2J\\r\\x9b\\u202e\\x07"


def test_settable():
    class Own:
        default = 1
        __slots__ = ("place",)

        def method(self):
            pass

        value = property(method)

    assert [settable(Own, name) for name in ("new", "default", "_own")] == [True] * 3
    names = ("method", "value", "place", "__array_interface__", "__new_name__", "_as_parameter_", 1)
    assert [settable(Own, name) for name in names] == [False] * 7
    assert settable(Own, "place", slot=True)
    assert not settable(Own, "method", slot=True)


def test_bytes_that_are_no_bools(tmp_path):
    raw = bytearray([7, 200, 0, 1])
    np.savez(tmp_path / "a.npz", x=np.frombuffer(raw, bool), y=np.arange(4))
    for given in (
        rv.tensor([*raw], dtype=rv.uint8).view(rv.bool),
        frombuffer(raw, dtype=rv.bool),
        rv.from_dlpack(np.frombuffer(raw, bool)),
        rv.tensor(load(tmp_path / "a.npz").x),
    ):
        assert given.sum().item() == 3
    x = rv.tensor([1, 0], dtype=rv.uint8)  # as bools the memory would be shared
    x.view(rv.bool)[1] = True
    assert x.tolist() == [1, 1]


def npy(text, data=b"", version=1):
    length = (len(text) + 1).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode() + b"\n" + data


def header(descr="'<f8'", shape="(2, 2)"):
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


def packed(content, name="x.npy"):
    with zipfile.ZipFile(stream := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, content)
    return stream.getvalue()


LETTERS = b"\xff\xff\xff\x7f"


@pytest.mark.parametrize(
    "content",
    [
        npy("(" * 9000, version=2), npy("'a" * 9), npy(header(shape="(1000000, 1000000)")),
        npy(header(), b"12"), npy(header(shape="(1,) * 3")), npy(header()[:30]),
        npy(header(shape="(-1, 1)"), bytes(8)), npy(header("'<U0'", "(10000000000000,)")),
        npy(header("'<U999999999'", "(2,)")), npy(header("'|O'")),
        npy(header("'<U1'", "(1,)"), LETTERS), npy(header(), bytes(32), 9),
    ],
)  # fmt: skip
def test_arrays_that_are_not_in_the_file(tmp_path, content):
    for name, data in ("a.npy", content), ("a.npz", packed(content)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=r"^\[load_np[yz]\] "):
            load(tmp_path / name)


def test_packed_files(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"1,2\n" * 10**7))
    refused(ValueError, "unpack it yourself", load, tmp_path / "a.csv.gz")
    (tmp_path / "a.npz").write_bytes(packed(b"1", "\x1b[2J.npy"))
    refused(ValueError, "is damaged, or no file of plain arrays", load, tmp_path / "a.npz")


def test_wide_tables(tmp_path):
    (tmp_path / "a.csv").write_text("\n".join([",".join(["1.25000"] * 20_000)] * 2))
    assert load(tmp_path / "a.csv").x.shape == (2, 19_999)
    (tmp_path / "a.csv").write_text("," * 70_000)
    refused(ValueError, "has 70001 columns; expected at most 65536", load, tmp_path / "a.csv")


def test_pictures(tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.new("1", (9000, 9000)).save(tmp_path / "a.png")
    refused(ValueError, "9000x9000 pixels, far more than", read_image, tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    refused(ValueError, "cannot identify", read_image, tmp_path / "a.png")
