"""GGUF files: what they hold, what is refused, and that damaged ones raise only errors of this reader.

Random damaged ones: test_strangers.py.
"""

import copy
import itertools
import os
import pickle
import struct

import numpy as np
import pytest
import ranvier as rv
from formats.gguf_files import ARRAY, BOOL, STRING, U8, U32, blocks, entry, example, gguf, info, string, whole
from ranvier.ops.matrix.quantized_blocks import QuantizedBlocks
from ranvier.serialization import gguf as gguf_module
from ranvier.tensors import mapped_files
from support.refused import refusals, refused


def loaded(path, *content, **settings):
    path.write_bytes(gguf(*content, **settings))
    return rv.load_gguf(path)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("alignment", [8, 32, 4096])
def test_a_file(path, version, alignment):
    entries, tensors = example()
    file = loaded(path, entries, tensors, version=version, alignment=alignment)
    expected = {key: content for key, kind, content in entries if kind != ARRAY}
    expected |= {"words": ["a", "", "\u00e9"], "floats": [0.5, -2.0], "bools": [True, False], "none": []}
    expected |= {"nested": [[1, -2], ["x"]]} | ({"general.alignment": alignment} if alignment != 32 else {})
    assert file.metadata == expected
    assert [type(file.metadata[f"number.{kind}"]) for kind in (U8, BOOL)] == [int, bool]
    assert [*file.kinds.items()] == [(name, kind) for name, (kind, _, _) in tensors.items()]
    assert ([*file], len(file)) == ([*tensors], len(tensors))
    dtypes = {"F32": rv.float32, "F16": rv.float16, "BF16": rv.bfloat16, "F64": rv.float64}
    dtypes |= {f"I{8 * n}": getattr(rv, f"int{8 * n}") for n in (1, 2, 4, 8)}
    for name, (kind, shape, content) in tensors.items():
        if kind in dtypes:
            assert (file[name].dtype, tuple(file[name].shape)) == (dtypes[kind], shape)
            assert file[name]._array.tobytes() == content
    assert file["bf16"].tolist() == [1.5, -2.0]


@pytest.mark.parametrize("shape", [(15, 32), (5, 96), (3, 5, 32)])  # the last: experts of a layer
@pytest.mark.parametrize(("kind", "low", "high"), [("Q8_0", -128, 127), ("Q4_0", -8, 7)])
def test_blocks(path, kind, low, high, shape):
    rng = np.random.default_rng(1)
    integers = rng.integers(low, high + 1, (15, 32))
    integers[0, :2] = low, high
    scales = rng.normal(size=15).astype(np.float16)
    scales[1:3] = np.inf, np.nan
    integers[1] = 0
    content = blocks(scales, integers, kind)
    weight = loaded(path, [], {"w": (kind, shape, content)})["w"]
    assert isinstance(weight, QuantizedBlocks)
    assert (weight.kind, weight.shape, weight.blocks.tobytes()) == (kind.lower(), shape, content)
    with np.errstate(invalid="ignore"):
        expected = integers * scales[:, None].astype(np.float64)  # exact
    found = weight.dequantize()
    assert found.dtype == rv.float32
    assert np.array_equal(found.numpy(), expected.reshape(shape).astype(np.float32), equal_nan=True)
    for other in (copy.deepcopy(weight), pickle.loads(pickle.dumps(weight))):
        assert other.dequantize().numpy().tobytes() == found.numpy().tobytes()


def test_a_weight_of_other_blocks():
    values = np.zeros((1, 1, 34), np.uint8)
    wrong = refusals(QuantizedBlocks)
    wrong(ValueError, "got kind 'q5_0'; expected 'q8_0' or 'q4_0'", "q5_0", (1, 32), values)
    wrong(
        ValueError,
        "got a weight of shape (1, 33); expected (n, k) with k a multiple",
        "q8_0",
        (1, 33),
        values,
    )
    wrong(ValueError, "got blocks of shape (1, 1, 34); expected (1, 1, 18)", "q4_0", (1, 32), values)
    wrong(TypeError, "got blocks of list; expected an array of uint8", "q8_0", (1, 32), [1])


def test_kinds_that_are_not_read(path):
    tensors = {"a": ("Q4_K", (1, 256), bytes(144)), "b": (99, (3,), b""), "c": ("F32", (1,), bytes(4))}
    file = loaded(path, [], tensors)
    assert file.kinds == {"a": "Q4_K", "b": "type 99", "c": "F32"}
    assert file["c"].tolist() == [0.0]
    for name, kind in (("a", "Q4_K"), ("b", "type 99")):
        said = f"[load_gguf] got '{path}', whose tensor '{name}' is of kind {kind}; expected F32, F16, "
        refused(ValueError, said, lambda name=name: file[name])
        assert name in file
    refused(KeyError, "none", lambda: file["none"])
    assert "none" not in file


def test_a_large_file_is_mapped(path, monkeypatch):
    if os.name == "nt":
        pytest.skip("no file is mapped")
    monkeypatch.setattr(mapped_files, "SMALL", 0)
    content = blocks([1, 1], np.arange(64), "Q8_0")
    file = loaded(path, [], {"x": ("F32", (4,), bytes(16)), "q": ("Q8_0", (2, 32), content)})
    before = path.read_bytes()
    assert isinstance(file["x"]._array.base, mapped_files.MappedFile)
    assert isinstance(file["q"].blocks.base, mapped_files.MappedFile)
    file["x"][0] = 5
    file["q"].blocks[0, 0, 2] = 7
    assert (file["x"].tolist(), file["q"].dequantize()[0, 0].item()) == ([5.0, 0.0, 0.0, 0.0], 7.0)
    assert path.read_bytes() == before
    path.unlink()
    assert file["q"].dequantize()[1, 31].item() == 63.0


X = info("x", (2,), "F32", 0)
HEAD = b"GGUF" + struct.pack("<I", 3)
LONG = struct.pack("<Q", 2**63)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "which is empty"),
        (b"GGU", "is text that begins 'GGU'"),
        (b"\x00\x01\x02\x03", r"begins b'\x00\x01\x02\x03'; expected a GGUF file"),
        (b"GGUF\0\0\0\3" + bytes(16), "is big endian; expected a file that is little endian"),
        (b"GGUF\1\0\0\0" + bytes(8), "has version 1 of the format; expected 2 or 3"),
        (b"GGUF", "ends at byte 4; expected 4 bytes from byte 4 on"),
        (HEAD + LONG * 2, "ends at byte 24; expected 8 bytes"),
        (HEAD + LONG + bytes(8), "ends at byte 24; expected 8 bytes"),
        (HEAD + bytes(8) + struct.pack("<Q", 1) + LONG, f"expected {2**63} bytes from byte 32 on"),
        (whole([string(b"\xff") + bytes(5)]), r"has the string b'\xff' at byte 24; expected UTF-8"),
        (whole([entry("a", U8, 1)] * 2), "has the key 'a' twice"),
        (whole([entry("\x1b[2J", U8, 1)] * 2), r"has the key '\x1b[2J' twice"),
        (whole([], [X, X], bytes(8)), "has the tensor 'x' twice"),
        (whole([string("a") + struct.pack("<I", 13)]), "has a value of type 13 at byte 37; expected"),
        (whole([entry("a", BOOL, 2)]), "has a bool of 2 at byte 37; expected 0 or 1"),
        (whole([string("a") + struct.pack("<II", ARRAY, U8) + LONG]), f"expected {2**63} bytes from byte 49"),
        (whole([string("a") + struct.pack("<II", ARRAY, 99) + LONG]), "has a value of type 99"),
        (whole([string("a") + struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * 50]), "arrays deep"),
        *((whole([entry("general.alignment", U32, n)]), f"the alignment {n}; expected") for n in (0, 12)),
        (whole([entry("general.alignment", STRING, "8")]), "has the alignment '8'; expected a multiple of 8"),
        (whole([], [info("x", (1,) * 5, "F32", 0)]), "has the tensor 'x' of 5 dimensions; expected at most"),
        (whole([], [info("x", (2**32, 2**32), "F32", 0)]), "4294967296); expected at most 2**40 el"),
        (whole([], [info("x", (0, 2**63), "F32", 0)]), f"(0, {2**63}); expected at most 2**40 elements"),
        (whole([], [info("x", (4, 33), "Q8_0", 0)]), "of Q8_0 and shape (4, 33); expected rows of a"),
        (whole([], [info("x", (), "Q4_0", 0)]), "of Q4_0 and shape (); expected rows of a multiple of 32"),
        (whole([], [info("x", (2,), "F32", 4)], bytes(64)), "at the place 4; expected a multiple of 32"),
        (whole([], [X], bytes(7)), "ends at byte 71; expected the tensor 'x' up to byte 72"),
        (whole([], [info("x", (2,), "Q4_K", 2**63)], bytes(64)), "expected the tensor 'x' up to byte"),
        (whole([], [X, info("y", (1,), "I8", 0)], bytes(8)), "has the tensors 'y' and 'x' in the same bytes"),
    ],
    ids=itertools.count(),
)  # fmt: skip
def test_a_damaged_file(path, content, said):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^\[load_gguf\] got '.*', which .*") as caught:
        rv.load_gguf(path)
    assert said in str(caught.value)


def test_cut_off_anywhere(path):
    content = gguf(*example())
    for length in range(0, len(content) - 144, 5):  # up to the tensor of a kind that is not read
        path.write_bytes(content[:length])
        refused(ValueError, "[load_gguf] got ", rv.load_gguf, path)


def test_other_arguments(path):
    refused(TypeError, "[load_gguf] got path 3; expected the path of a file", rv.load_gguf, 3)
    refused(FileNotFoundError, str(path), rv.load_gguf, path)
    path.write_bytes(gguf([], {}))
    refused(ValueError, "is a GGUF file, of llama.cpp; rv.load_gguf reads it", rv.load, path)


@pytest.mark.parametrize("kind", [U8, STRING])
def test_metadata_of_the_length_of_a_large_file(path, kind, monkeypatch):
    """The limit does not grow with the file: 256 MB of zeros, which take no place on the disk."""
    monkeypatch.setattr(gguf_module, "MOST_WORK", 2**24)
    path.write_bytes(whole([string("a") + struct.pack("<IIQ", ARRAY, kind, 2**25 - 100)]))
    os.truncate(path, 2**28)
    refused(ValueError, "which asks for far more work or memory than its length", rv.load_gguf, path)


def test_the_package_gguf_reads_the_same(path):
    gguf_package = pytest.importorskip("gguf", reason="the package gguf is not installed")
    rng = np.random.default_rng(2)
    x = rng.normal(size=(4, 64)).astype(np.float32)
    writer = gguf_package.GGUFWriter(path, "llama")
    writer.add_array("words", ["a", "\u00e9"])
    writer.add_float32("rate", 0.5)
    for name in ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"):
        kind = gguf_package.GGMLQuantizationType[name]
        writer.add_tensor(name, gguf_package.quantize(x, kind), raw_dtype=kind)
    for write in ("header", "kv_data", "tensors"):
        getattr(writer, f"write_{write}_to_file")()
    writer.close()
    file = rv.load_gguf(path)
    assert file.metadata == {"general.architecture": "llama", "words": ["a", "\u00e9"], "rate": 0.5}
    for tensor in gguf_package.GGUFReader(path).tensors:
        if tensor.name != "Q4_1":
            found = file[tensor.name]
            found = found.dequantize() if isinstance(found, QuantizedBlocks) else found.float()
            assert np.array_equal(found.numpy(), gguf_package.dequantize(tensor.data, tensor.tensor_type))
    refused(ValueError, "is of kind Q4_1", lambda: file["Q4_1"])
