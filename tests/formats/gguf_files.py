"""GGUF files and parts of them, written from the specification.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct

import numpy as np

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)  # the types of metadata
CODES = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q"}
CODES[F64] = "d"
KINDS = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8, "Q4_K": 12, "I8": 24, "I16": 25, "I32": 26, "I64": 27}
KINDS |= {"F64": 28, "BF16": 30}
READ = KINDS.keys() - {"Q4_K"}


def string(text):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(kind, content):
    """A value of metadata; that of an array is a pair: the type of its elements, and these."""
    if kind == STRING:
        return string(content)
    if kind == ARRAY:
        inner, elements = content
        return struct.pack("<IQ", inner, len(elements)) + b"".join(value(inner, x) for x in elements)
    return struct.pack("<" + CODES[kind], content)


def entry(key, kind, content):
    return string(key) + struct.pack("<I", kind) + value(kind, content)


def info(name, shape, kind, offset):
    """A tensor in the table; kind: its name or number."""
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
    return string(name) + sizes + struct.pack("<IQ", KINDS.get(kind, kind), offset)


def whole(entries=(), infos=(), data=b"", version=3, alignment=32):
    """A file of parts that are bytes."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(infos), len(entries)) + b"".join([*entries, *infos])
    return head + bytes(-len(head) % alignment) + data


def gguf(metadata, tensors, version=3, alignment=32):
    """A file. metadata: (key, type, value) of each entry; tensors: name -> (kind, shape, array or bytes)."""
    entries = [entry(*item) for item in metadata]
    if alignment != 32:
        entries.append(entry("general.alignment", U32, alignment))
    infos, data = [], b""
    for name, (kind, shape, content) in tensors.items():
        data += bytes(-len(data) % alignment)
        infos.append(info(name, shape, kind, len(data)))
        data += bytes(content)
    return whole(entries, infos, data, version, alignment)


def blocks(scales, integers, kind):
    """The bytes of rows of integers, 32 of them with a scale: those of 8 bits, or of 4 bits plus 8."""
    parts = []
    for scale, numbers in zip(scales, np.reshape(integers, (-1, 32)), strict=True):
        if kind == "Q4_0":
            numbers = [numbers[i] + 8 | (numbers[i + 16] + 8) << 4 for i in range(16)]
        parts.append(struct.pack("<e", scale) + np.array(numbers).astype(np.uint8).tobytes())
    return b"".join(parts)


def example():
    """A file with each type of metadata and each kind of tensor."""
    rng = np.random.default_rng(0)
    numbers = [(f"number.{kind}", kind, 1) for kind in CODES]
    texts = [("text", STRING, "h\u00e9 \U0001f600"), ("words", ARRAY, (STRING, ["a", "", "\u00e9"]))]
    arrays = [
        ("floats", ARRAY, (F32, [0.5, -2.0])),
        ("bools", ARRAY, (BOOL, [1, 0])),
        ("none", ARRAY, (U8, [])),
    ]
    arrays.append(("nested", ARRAY, (ARRAY, [(I16, [1, -2]), (STRING, ["x"])])))
    x = rng.normal(size=(3, 64)).astype(np.float32)
    tensors = {
        "f32": ("F32", (3, 64), x.tobytes()),
        "f16": ("F16", (3, 64), x.astype(np.float16).tobytes()),
        "bf16": ("BF16", (2,), struct.pack("<2H", 0x3FC0, 0xC000)),
        "one": ("F64", (), struct.pack("<d", 0.1)),
        "empty": ("F32", (0, 4), b""),
        "four": ("I32", (2, 1, 3, 2), np.arange(12, dtype=np.int32).tobytes()),
        **{f"i{8 * n}": (f"I{8 * n}", (3,), np.array([-1, 0, 9], f"i{n}").tobytes()) for n in (1, 2, 4, 8)},
        "q8": ("Q8_0", (1, 64), blocks([0.5, -2], rng.integers(-128, 128, 64), "Q8_0")),
        "q4": ("Q4_0", (2, 32), blocks([0.5, -2], rng.integers(-8, 8, 64), "Q4_0")),
        "other": ("Q4_K", (1, 256), bytes(144)),
    }
    return numbers + texts + arrays, tensors
