"""Forged and damaged files of PyTorch's formats: none runs code, crashes, hangs or fills memory.

The pickles are written operation by operation: `name` pushes what a path names, `text` and `number` a value,
`tensor` and `storage` what PyTorch writes for them; `archive` and `old` put a pickle into a file.
"""

import io
import pickle
import struct
import zipfile

import pytest
import ranvier as rv
from formats.forged_pickles import HOOKS, OLD, name, number_of as number, text
from support.refused import refused

PROTO = b"\x80\x02"


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(kind="torch.FloatStorage", key="0", count=4):
    parts = (text("storage"), name(kind), text(key), text("cpu"), number(count))
    return b"(" + b"".join(parts) + b"tQ"


def tensor(held=None, offset=0, size=(4,), stride=(1,), grad=b"\x89", function="_rebuild_tensor_v2"):
    held = storage() if held is None else held
    place = number(offset) + numbers(size) + numbers(stride)
    return name(f"torch._utils.{function}") + b"(" + held + place + grad + HOOKS + b"tR"


def archive(content, entries=(("data/0", bytes(16)),), compress=zipfile.ZIP_STORED, folder="archive"):
    """A file as torch.save writes it: a zip archive of this pickle and these entries."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compress) as file:
        file.writestr(f"{folder}/data.pkl", PROTO + content + b".")
        for entry, data in entries:
            file.writestr(f"{folder}/{entry}", data)
    stream.seek(0)
    return stream


def test_the_forger_makes_good_files():
    assert rv.load(archive(tensor())).tolist() == [0, 0, 0, 0]
    assert rv.load(archive(tensor(size=(2, 1), stride=(1, 10**9), offset=2))).shape == (2, 1)


FROM_TYPE, ORDERED = name("torch._tensor._rebuild_from_type_v2") + b"(", name("collections.OrderedDict")
SYSTEM = name("posix.system") + text("echo forged > forged") + b"\x85R"


@pytest.mark.parametrize(
    "content",
    [
        SYSTEM, name("os.system") + text("true") + b"\x85R", name("builtins.eval") + text("1") + b"\x85R",
        name("builtins.getattr") + text("a") + text("b") + b"\x86R",
        name("builtins.__import__") + text("os") + b"\x85R",
        text("posix") + text("system") + b"\x93" + text("true") + b"\x85R",
        b"(" + text("true") + b"iposix\nsystem\n", b"(" + name("collections.OrderedDict") + b"o",
        b"(" + name("posix.system") + text("true") + b"o",
        name("torch._utils._rebuild_tensor_v2.__globals__"), name("torch.nn.modules.linear.Linear") + b")R",
        name("torch.storage._load_from_bytes") + b"C\x01a\x85R",
        FROM_TYPE + name("posix.system") + name("torch.Tensor") + text("true") + b"\x85}tR",
        FROM_TYPE + text("f") + name("torch.Tensor") + b")}tR", FROM_TYPE + 2 * ORDERED + b")}tR",
        name("torch.Tensor") + b")R", name("torch.Tensor") + b")\x81",
        name("numpy._core.multiarray._reconstruct") + b"(" + name("posix.system")
        + b"K\x00\x85C\x01btR(K\x01K\x01\x85" + name("numpy.dtype") + text("O8") + b"\x85R\x89]tb",
        name("numpy.dtype") + text("V8") + b"\x85R",
        name("collections.defaultdict") + name("torch._utils._rebuild_parameter") + b"\x85R",
        name("collections.defaultdict") + name("posix.system") + b"\x85R",
        name("_codecs.encode") + text("a") + text("zlib") + b"\x86R", b"\x82\x01", b"Pforged\n", b"\x97",
    ],
)  # fmt: skip
def test_no_code_runs(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(pickle.UnpicklingError, "[load] the open file", rv.load, archive(content))
    refused(ValueError, "[load] the open file", rv.load, io.BytesIO(old(content)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "held",
    [
        tensor(size=(5,)), tensor(size=(2, 2), stride=(3, 1)), tensor(offset=1), tensor(offset=-1),
        tensor(offset=10**30), tensor(size=(-1,)), tensor(size=(4,), stride=(-1,)),
        tensor(size=(2**62, 2**62), stride=(0, 0)), tensor(size=(10**9,) * 8, stride=(0,) * 8),
        tensor(size=(0, 2**63), stride=(1, 1)), tensor(size=(0,), offset=10**12),
        tensor(size=(4, 1), stride=(1,)), tensor(size=(1,) * 65, stride=(0,) * 65), tensor(grad=b"K\x01"),
        tensor(storage("torch.LongStorage", count=2), size=(2,), grad=b"\x88"), tensor(storage(count=5)),
        tensor(storage(count=3), size=(3,)), tensor(storage(count=-4)), tensor(storage(count=2**62)),
        tensor(storage(key="1")), tensor(storage(key="../data.pkl")),
        tensor(storage("torch.ComplexFloatStorage", count=1)), tensor(storage("torch.QInt8Storage")),
        tensor(storage("collections.OrderedDict")), tensor(text("storage")), tensor(b"N"), tensor(b"]Q"),
        tensor(text("storage") + b"\x85Q"), tensor(b"(NNNNNtQ"), tensor(function="_rebuild_tensor_v3"),
        tensor(function="_rebuild_qtensor"), tensor(function="_rebuild_sparse_tensor"),
        storage() + b"\x85" + name("builtins.list") + b"\x86", b"]" + storage() + b"a",
        b"}" + text("x") + name("torch.FloatStorage") + b"s", b"]" + name("builtins.set") + b"a",
        name("torch._utils._rebuild_parameter") + b"(NI01\nNtR",
        name("torch._utils._rebuild_parameter_with_state") + b"(" + tensor() + b"\x88N]K\x01atR",
    ],
)  # fmt: skip
def test_tensors_that_are_not_in_the_file(held):
    refused(ValueError, "[load] the open file", rv.load, archive(held))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"0", b"a", b"t", b"h\x00", b"R", b"N)R", b"}]K\x01s", b"](K\x01u", b"](K\x01\x90", b"N}b",
        b"]}b", b"(((1", b"B\xff\xff\xff\x7fab", b"\x8e" + b"\xff" * 8 + b"ab", b"\x8b\xff\xff\xff\x7fab",
        b"r\xff\xff\xff\xff" * 3 + b"Nr\xff\xff\xff\xffj\xff\xff\xff\xfe", b"I" + b"9" * 10**4 + b"\n",
        b"Vabc", b"X\x02\0\0\0\xff\xff", b"cno newline",
        name("builtins.bytearray") + number(10**12) + b"\x85R",
        name("builtins.bytes") + number(10**12) + b"\x85R",
        name("builtins.complex") + text("x" * 99) + b"\x85R", name("builtins.set") + text("abc") + b"\x85R",
        name("torch.device") + text("nothing") + b"\x85R",
        name("numpy.dtype") + text("f8" * 10**5) + b"\x85R",
        name("numpy._core.multiarray.scalar") + name("numpy.dtype") + text("f8") + b"\x85RC\x01a\x86R",
    ],
)  # fmt: skip
def test_damaged_pickles(content):
    refused(ValueError, "[load] the open file", rv.load, archive(content))


DEFAULTS = name("collections.defaultdict") + b"q\x010"
STATE = name("torch._utils._rebuild_parameter_with_state") + b"q\x010" + tensor() + b"q\x020N"


def grown(times):
    """Lists in each other, each filled only after the one around it has it."""
    return b"]q\x00]q\x01a0h\x01" + b"]q\x01ah\x010h\x01" * times


def row(item):
    return b"(" + item * 1000 + b"t"


def nested(times):
    """A tuple that holds itself twice, and so on: its hash takes 2**times steps."""
    return b")" + b"2\x86" * times


@pytest.mark.parametrize(
    "content",
    [
        b"}" + nested(60) + b"Ns",
        b"\x8f(" + nested(60) + b"\x90",
        name("builtins.set") + b"]" + nested(60) + b"a\x85R",
        name("builtins.frozenset") + nested(60) + b"\x85R",
        name("collections.OrderedDict") + b"]" + nested(60) + b"N\x86a\x85R",
        name("collections.Counter") + nested(60) + b"\x85R",
        name("torch.Size") + nested(60) + b"\x85R" + b"q\x00}h\x00Ns",
        b"}" + b")" + b"\x85" * 10**5 + b"Ns",
        b"(" + b"N" * 10**5 + b"lq\x00" + (name("torch.Size") + b"h\x00\x85R") * 10**3,
        text("x" * 10**6) + b"q\x00" + (name("_codecs.encode") + b"h\x00\x85R") * 10**3,
        DEFAULTS + b"h\x01)RK\x00" * 10**5 + b"N" + b"s" * 10**5,
        b")" + b"\x85" * 10**5,
        b"]" * 10**5 + b"a" * (10**5 - 1),
        grown(10**4),
        STATE + (b"q\x030h\x01(h\x02\x89N}" + text("x") + b"h\x03stR") * 2000,
        FROM_TYPE + name("builtins.set") + name("torch.Tensor") + nested(60) + b"\x85}tR",
        nested(60),
        b"]" + b"q\x00](h\x00h\x00e" * 60,
        b"]" + row(b"N") + b"q\x000" + row(b"h\x00") + b"q\x010" + row(b"h\x01") + b"a",
        text("x" * 10**5) + b"q\x00]" + row(b"h\x00" * 100) + b"a",
        name("torch.Size") + tensor(size=(10**12,), stride=(0,)) + b"\x85R",
        number(2**200),
        b"}" + number(2**70) + b"Ns",
        b"(" + b"K\x01" * 16 + b"tq\x00" + b"(" + b"h\x00" * 16 + b"tq\x000}" + b"h\x00Ns" * 10**5,
        b"}(" + b"".join(number(i << 40) + b"N" for i in range(10**5)) + b"u",
        b"\x8f" * 10**6,
        name("collections.OrderedDict") + b"q\x000" + b"h\x00)R" * 10**6,
    ],
)
@pytest.mark.timeout(5)
def test_work_and_memory_are_bounded(content):
    refused(ValueError, "[load] the open file", rv.load, archive(content))


@pytest.mark.timeout(20)
def test_deep_containers():
    for deep in (b")" + b"\x85" * 900, b"]" * 900 + b"a" * 899):
        assert type(rv.load(archive(deep))[0]) in (tuple, list)
    cycle = rv.load(archive(b"]q\x00h\x00a"))
    assert cycle[0] is cycle
    one, other = rv.load(archive(b"]q\x00]q\x01h\x00aah\x01\x86"))
    assert other[0] is one
    assert one[0] is other


def test_archives(tmp_path):
    bomb = archive(tensor(storage(count=10**7)), [("data/0", bytes(4 * 10**7))], zipfile.ZIP_DEFLATED)
    refused(ValueError, "in a compressed form", rv.load, bomb)
    refused(ValueError, "lacks the entry 'data/0'", rv.load, archive(tensor(), []))
    refused(ValueError, "the byte order b'middle'", rv.load, archive(b"N", [("byteorder", b"middle")]))
    refused(ValueError, "an archive of TorchScript", rv.load, archive(b"N", [("constants.pkl", b"")]))
    refused(ValueError, "not one of PyTorch", rv.load, archive(b"N", [("more/data.pkl", b"")]))
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = archive(tensor(), [("data/0", bytes(16))] * 2)
    refused(ValueError, "two entries of the name", rv.load, twice)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("model.txt", "none")
    refused(ValueError, "not one of PyTorch", rv.load, io.BytesIO(stream.getvalue()))


def test_entries_that_lie_on_each_other():
    """A hundred names for the same bytes are a hundred times their memory."""
    held = b"(" + b"".join(tensor(storage(key=str(i), count=10**5), size=(10**5,)) for i in range(100)) + b"t"
    stream = archive(held, [(f"data/{i}", bytes(4 * 10**5) if i == 0 else b"") for i in range(100)])
    content = bytearray(stream.getvalue())
    with zipfile.ZipFile(stream) as file:
        entries = {entry.filename: entry for entry in file.infolist()}
    first = entries["archive/data/0"]
    start = content.index(b"PK\1\2")
    while content[start : start + 4] == b"PK\1\2":
        length = int.from_bytes(content[start + 28 : start + 30], "little")
        if b"/data/" in content[start + 46 : start + 46 + length]:
            content[start + 16 : start + 28] = struct.pack("<III", first.CRC, 4 * 10**5, 4 * 10**5)
            content[start + 42 : start + 46] = struct.pack("<I", first.header_offset)
        start += 46 + length
    refused(ValueError, "[load]", rv.load, io.BytesIO(content))


def old(content, keys=b"]", data=b""):
    """A file of the form before version 1.6."""
    return OLD + PROTO + content + b"." + PROTO + keys + b"." + data


KEY = text("0")


def old_storage(count=4, part=b"N", key=KEY):
    parts = (text("storage"), name("torch.FloatStorage"), key, text("cpu"), number(count), part)
    return b"(" + b"".join(parts) + b"tQ"


KEYS = b"]" + KEY + b"a"
DATA = struct.pack("<q", 4) + bytes(16)


def test_old_files():
    good = old(tensor(old_storage()), KEYS, DATA)
    assert rv.load(io.BytesIO(good)).tolist() == [0, 0, 0, 0]
    part = b"(" + text("v") + number(1) + number(2) + b"t"
    values = struct.pack("<q4f", 4, 0, 1, 2, 3)
    two = tensor(old_storage(part=part), size=(2,))
    assert rv.load(io.BytesIO(old(two, KEYS, values))).tolist() == [1, 2]
    outside = b"(" + text("v") + number(3) + number(2) + b"t"
    for content in (
        good[:-1],
        old(tensor(old_storage()), b"]", DATA),
        old(tensor(old_storage()), b"N", DATA),
        old(tensor(old_storage()), KEYS, struct.pack("<q", -4) + bytes(16)),
        old(tensor(old_storage()), KEYS, struct.pack("<q", 2**40) + bytes(16)),
        old(tensor(old_storage(count=2**40)), KEYS, DATA),
        old(tensor(old_storage(key=b"]")), KEYS, DATA),
        old(tensor(old_storage(part=outside), size=(2,)), KEYS, DATA),
        old(tensor(old_storage(part=part), size=(3,)), KEYS, DATA),
        old(tensor(storage()), KEYS, DATA),
        good.replace(number(1001), number(1002)),
        old(SYSTEM),
        PROTO + SYSTEM + b".",
        PROTO + old_storage() + b".",
    ):
        refused(ValueError, "[load] the open file", rv.load, io.BytesIO(content))
