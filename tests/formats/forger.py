"""Damaged and forged files of every kind, made from numbers, and what reading one may do.

    cd tests; python -m formats.forger KIND DAMAGED FORGED

reads so many files of a kind, and prints a line for each that did more than raise a ValueError: a crash is
the end of the process. Number n of a kind is always the same file. It may take two seconds, and 20 us a byte;
64 MB, four times the file, and what a table, a packed file, a picture or metadata of GGUF say that they hold.
"""

import contextlib
import faulthandler
import functools
import gzip
import io
import random
import struct
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import ranvier as rv
from formats import gguf_files
from formats.forged_models import document, header
from formats.forged_pickles import ODD, OLD, end_of_old, pickled
from ranvier import nn
from ranvier.data import load as load_data
from ranvier.data.datasets import read_idx, read_image
from ranvier.data.vision.datasets.folder import default_loader
from ranvier.serialization import info
from ranvier.torch.files import save as save_for_torch
from safetensors.numpy import save as safetensors_of

MB = 2**20
FOLDER = Path(tempfile.mkdtemp())


# --- good files
def _saved(save, *args, **settings):
    """The bytes that a function writes, which takes the file after `args`."""
    save(*args, stream := io.BytesIO(), **settings)
    return stream.getvalue()


def _npy(array):
    return _saved(lambda file: np.save(file, array))


def _model():
    shared = nn.Linear(3, 3)
    layers = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Sequential(shared, nn.ReLU(), shared)
    return nn.Sequential(*layers, nn.LSTM(3, 2, 2), nn.ModuleDict({"a": nn.PReLU(2)}))


def _state():
    nested = {"w": rv.ones(3, 2), "mask": rv.tensor([True, False]), ("k", 1): [1, 2.5, None, (1, "b")]}
    return OrderedDict(nested, sizes=rv.Size([1, 2]), default=defaultdict(list, a=[1]), n=np.arange(3))


def _picture(form):
    from PIL import Image

    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 7, 3), np.uint8))
    return _saved(lambda file: image.save(file, form))


CSV = b'size,kind,date\n1.5,red,2020-01-01\n"2",blue,x\n,"a,b",\n-3e5,\xc3\xa9,#N/A\n'
FILES = Path(__file__).parent / "pytorch"


OLD_FORM = {"_use_new_zipfile_serialization": False}
GOOD = {  # what makes some files of each kind
    "pt": lambda: [(FILES / "weights.pt").read_bytes(), _saved(save_for_torch, _state())],
    "old": lambda: [(FILES / "old.pt").read_bytes(), _saved(save_for_torch, _state(), **OLD_FORM)],
    "model": lambda: [_saved(rv.save, _model(), class_names=["a", "b"], input_shape=(1, 9, 9))],
    "safetensors": lambda: [
        safetensors_of({"a": np.ones((2, 3), np.float32), "b": np.array([True, False])}),
        _saved(rv.save, {"x": rv.ones(2), "n": [1, (2, None)]}),
    ],
    "gguf": lambda: [gguf_files.gguf(*gguf_files.example())],
    "npy": lambda: [_npy(np.ones((3, 4))), _npy(np.zeros((4, 2), bool)), _npy(np.ones((2, 3), np.uint8))],
    "npz": lambda: [
        _saved(np.savez, x=np.ones((3, 2)), y=np.array(["a", "b", "a"])),
        _saved(np.savez_compressed, x=np.zeros((9, 8, 8), np.uint8), y=np.arange(9)),
    ],
    "csv": lambda: [CSV, CSV.replace(b",", b";"), b"1,2\n3,4\n5,6\n" * 9],
    "csv.gz": lambda: [gzip.compress(CSV, mtime=0)],
    "idx": lambda: [
        bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(6),
        gzip.compress(bytes([0, 0, 13, 1, 0, 0, 0, 2]) + bytes(8), mtime=0),
    ],
    "picture": lambda: [_picture(form) for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP")],
}


@functools.cache
def good(kind):
    """Some files of a kind."""
    return GOOD[kind]()


# --- damaged files
def damaged(kind, rng):
    """A good file of a kind with some of its bytes changed; of packed files also before they are packed."""
    content = rng.choice(good(kind))
    if content[:2] == b"PK" and rng.random() < 0.7:  # with sums that fit
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            entries = [(entry.filename, file.read(entry), entry.compress_type) for entry in file.infolist()]
        parts = [_changed(rng, data) if rng.random() < 0.5 else data for _, data, _ in entries]
        return _zipped([(name, part, how) for (name, _, how), part in zip(entries, parts, strict=True)])
    if content[:2] == b"\x1f\x8b" and rng.random() < 0.7:
        return gzip.compress(_changed(rng, gzip.decompress(content)), 1, mtime=0)
    return _changed(rng, content)


def _zipped(entries):
    with zipfile.ZipFile(stream := io.BytesIO(), "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of names that occur twice
        for name, data, how in entries:
            file.writestr(name, data, how)
    return stream.getvalue()


def _changed(rng, content):
    """Bytes with some of them replaced, removed, repeated or cut off."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        at, length = rng.randrange(len(content) + 1), rng.choice([1, 1, 2, 4, 8, 30])
        form = rng.randrange(6)
        if form == 0:
            content[at : at + length] = rng.randbytes(length)
        elif form == 1:
            del content[at : at + length]
        elif form == 2:
            content[at:at] = content[at : at + length] * rng.choice([1, 2, 1000])
        elif form == 3:
            content[at : at + 1] = bytes([rng.choice([0, 1, 2, 127, 128, 255])])
        elif form == 4:
            content[at : at + 8] = struct.pack("<Q", rng.choice(ODD) % 2**64)
        elif rng.random() < 0.3:
            del content[at:]
    return bytes(content)


# --- forged files
def _npy_forged(rng):
    """A file of NumPy with a random header."""
    kinds = "'<f8' '|b1' '<U3' '<U999999999' '|O' [('a','<f8')] '|S0' '<M8[s]'"
    descr = rng.choice(kinds.split())
    shape = tuple(rng.choice([0, 1, 2, 3, *ODD]) for _ in range(rng.choice([0, 1, 2, 2, 70])))
    text = f"{{'descr': {descr}, 'fortran_order': {rng.choice(['True', 'False', '3'])}, 'shape': {shape}, }}"
    others = ["(" * 9000, "[" * 300 + text, "'a" * 99, text[:20] + "\\\n", "0" * 9999]
    text = rng.choice([text] * 3 + others)
    version = rng.choice([1, 1, 2, 3, 4, 255])
    length = struct.pack("<H" if version == 1 else "<I", len(text) + 1)
    start = b"\x93NUMPY" + bytes([version, 0]) + length
    return start + text.encode() + b"\n" + rng.randbytes(rng.choice([0, 48]))


def _csv_forged(rng):
    """A table of odd cells and lines of different lengths."""
    cells = ["1", "-2.5", "1e400", "", "NaN", "2020-01-01", "1,5", "0x9"]
    cells += ['"', '"a\nb"', "x" * 200, "\0", "\x1b[2J", "é"]
    some = rng.choices(cells, k=rng.choice([1, 2, 5]))
    rows = [rng.choice(",;\t |").join(rng.choices(some, k=rng.choice([1, 3, 3, 3, 400]))) for _ in range(9)]
    return ("\n".join(rows * rng.choice([1, 1, 30])) * rng.choice([1, 1, 2])).encode()


def _png(rng):
    """A picture that says that it is large, or has a large text."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    width, height = (rng.choice([1, 7, 3000, 60000, 2**31 - 1, 0]) for _ in range(2))
    form = bytes([rng.choice([1, 8, 16]), rng.choice([0, 2, 3, 4, 6]), 0, 0, rng.choice([0, 1])])
    size = struct.pack(">II", width, height)
    parts = [chunk(b"IHDR", size + form), chunk(b"IDAT", zlib.compress(bytes(10**5)))]
    parts.insert(rng.choice([0, 1]), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(rng.choice([9, 10**7])))))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def forged(kind, rng):
    """A file of a kind that is made of random parts."""
    if kind == "pt":
        data = [(f"a/data/{size}", bytes([7, 200, 0, 1] * size), 0) for size in (1, 4, 8)]
        return _zipped([("a/data.pkl", pickled(rng), 0), *data])
    if kind == "old":
        content = pickled(rng, b"NtQ")
        return OLD + content + end_of_old(content)
    if kind in ("model", "safetensors"):
        form = rng.choice(("model", "checkpoint") if kind == "model" else ("dict", ""))
        return document(rng, form) if form else header(rng)
    if kind == "npy":
        return _npy_forged(rng)
    if kind == "npz":
        names = rng.choice([["x.npy", "y.npy"], ["x.npy"], ["\x1b[2J.npy", "b.npy"], ["x.npy"] * 2])
        big = _npy(np.zeros(rng.choice([9, 10**7]), np.uint8))
        arrays = [(rng.choice([_npy_forged(rng), big]), rng.choice([0, 8, 8, 12, 14])) for _ in names]
        return _zipped([(name, *array) for name, array in zip(names, arrays, strict=True)])
    if kind in ("csv", "csv.gz"):
        content = _csv_forged(rng)
        bomb = rng.choice([b"1,2\n", b"0", b",", b"\n"]) * 10**7 if rng.random() < 0.05 else content
        return content if kind == "csv" else gzip.compress(bomb, 1, mtime=0)
    if kind == "idx":
        sizes = [rng.choice([0, 1, 2, 2**16, 2**31]) for _ in range(rng.choice([0, 1, 3, 255]))]
        head = struct.pack(f">HBB{len(sizes)}I", 0, rng.choice([8, 9, 11, 13, 14, 7]), len(sizes), *sizes)
        content = head + rng.randbytes(8)
        packs = rng.random() < 0.1
        return gzip.compress(content + bytes(rng.choice([0, 10**8])), 1, mtime=0) if packs else content
    return _png(rng) if kind == "picture" and rng.random() < 0.7 else damaged(kind, rng)


# --- reading
def read(kind, path):
    """Reads a file as programs do, in each way that there is for its kind."""
    if kind in ("pt", "old", "model", "safetensors"):
        value = rv.load(path)
        if kind in ("model", "safetensors"):
            info(path)
        with open(path, "rb") as stream:
            rv.load(stream)
        return value
    if kind == "gguf":
        file = rv.load_gguf(path)
        tensors = [file[name] for name in file if file.kinds[name] in gguf_files.READ]
        return file.metadata, [x if isinstance(x, rv.Tensor) else x.dequantize() for x in tensors]
    if kind == "idx":
        return read_idx(path)
    if kind == "picture":
        default_loader(str(path))
        return read_image(path)
    for settings in ({}, {"label": None}, {"missing": "keep", "categories": True}):
        try:
            value = load_data(path, **settings if kind[:3] == "csv" or len(settings) < 2 else {})
        except ValueError:
            if settings:
                raise
    return value


def wrong_in(value):
    """The fault of a value that was read: bytes that are no bools, names that others ask for."""
    seen, left = {}, [value]
    while left:
        x = left.pop()
        if id(x) in seen:
            continue
        seen[id(x)] = x
        array = x._array if isinstance(x, rv.Tensor) else x
        if isinstance(array, np.ndarray) and array.dtype == bool and array.view(np.uint8).max(initial=0) > 1:
            return "bools of other bytes"
        own = getattr(x, "__dict__", {}) if isinstance(x, (rv.Tensor, OrderedDict, defaultdict)) else {}
        if any(name[:1] == "_" == name[-1:] for name in own):
            return f"attributes {[*own]}"
        parts = x.values() if isinstance(x, dict) else x if type(x) in (list, tuple) else ()
        left += [*own.values(), *parts]
    return ""


def _peak(reset=False):
    """The most memory so far, or since the last reset, in bytes."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) * 1024


def _said(kind, path, size):
    """Memory for what a packed file, or a picture, says that it holds."""
    with contextlib.suppress(Exception):  # damaged, which says nothing
        if kind == "picture":
            from PIL import Image

            with Image.open(path) as image:
                return 20 * min(image.size[0] * image.size[1], 2**25)
        if kind == "npz":
            with zipfile.ZipFile(path) as file:
                return 50 * min(sum(entry.file_size for entry in file.infolist()), 2**22 + 1100 * size)
    return {
        "csv": 40 * size,
        "gguf": 40 * size,
        "csv.gz": 40 * (2**22 + 100 * size),
        "idx": 3 * 100 * size,
    }.get(kind, 0)


def attempt(kind, content, slow):
    """The forbidden effects of reading a file."""
    path = FOLDER / f"file.{ {'model': 'safetensors', 'old': 'pt', 'picture': 'png'}.get(kind, kind) }"
    path.write_bytes(content)
    problems, said = [], []
    before, start = _peak(reset=True), time.process_time()
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            value = read(kind, path)
        said = [str(warning.message) for warning in warned]
        problems += filter(None, [wrong_in(value)])
        repr(value)
    except RecursionError:  # in repr
        pass
    except ValueError as error:
        said = [str(error)]
    except Exception as error:
        problems.append(f"{type(error).__name__}: {error}"[:300])
    taken, used = time.process_time() - start, _peak() - before
    said_of = _said(kind, path, len(content))
    problems += [f"{taken:.1f} s"] * (taken > slow * (2 + 20e-6 * len(content) + 1e-8 * said_of))
    problems += [f"{used // MB} MB"] * (used > 64 * MB + 4 * len(content) + said_of)
    odd = [text for text in said if not text.replace("\n", "").replace("\t", "").isprintable()]
    return problems + [f"control codes: {text!r}" for text in odd[:1]]


def main(kind, count, invented):
    """Reads so many damaged and forged files, and prints what went wrong."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    read_all = [attempt(kind, content, 100) for content in good(kind)]  # imports what it needs
    assert kind in ("csv", "csv.gz") or not any(read_all), read_all
    start = time.process_time()
    sum(range(10**7))
    slow = max(1, (time.process_time() - start) / 0.15)  # the slowdown by other work of the machine
    worst, failed = [0.0, 0], 0
    for make, most in ((damaged, count), (forged, invented)):
        for number in range(most):
            name = f"{make.__name__} {number}"
            content = make(kind, random.Random(f"{kind} {name}"))
            faulthandler.dump_traceback_later(120, exit=True)
            print(name, file=sys.stderr, flush=True)
            start = time.process_time()
            problems = attempt(kind, content, slow)
            worst[0] = max(worst[0], time.process_time() - start)
            failed += bool(problems)
            if problems:
                print(f"{kind} {name}, {len(content)} bytes: {'; '.join(problems)}", flush=True)
    faulthandler.cancel_dump_traceback_later()
    print(f"{count} damaged and {invented} forged: {failed} wrong, at most {worst[0]:.2f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
