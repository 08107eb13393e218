"""Compress the files of wheels again with zopfli: any zip reader can read them, and they are 3 % smaller.

The Python files lose their comments and the docstrings of private names, a fiftieth of a wheel; lines keep
their numbers. The sources have them. Shared objects lose the addresses that the loader writes (12 KB).

python packaging/compress.py dist/ranvier-*.whl
"""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import struct
import sys
import tokenize
import zipfile
import zlib
from pathlib import Path

METHOD, VERSION, UNIX = 8, 20, 3  # deflate; of the zip format; where the file attributes come from


def deflated(content: bytes) -> bytes:
    """As a raw deflate stream of any number of blocks: without zlib's two bytes and its checksum."""
    import zopfli.zlib  # here: the test of what is compressed does without it

    return zopfli.zlib.compress(content, numiterations=15, blocksplittingmax=0)[2:-4]


def private_docstrings(tree: ast.AST) -> list[range]:
    """The lines of the docstrings of functions ``_x`` that a file only calls: help() shows none of them.
    They are taken out of the tree. A body of nothing else keeps its own.
    """
    nodes = list(ast.walk(tree))
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    passed_on = {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in nodes
        if isinstance(node, (ast.Name, ast.Attribute)) and id(node) not in called
    }
    taken = []
    for node in nodes:
        if not isinstance(node, ast.FunctionDef) or node.decorator_list or len(node.body) < 2:
            continue
        private = node.name.startswith("_") and not node.name.startswith("__")
        if private and node.name not in passed_on and ast.get_docstring(node) is not None:
            taken.append(range(node.body[0].lineno - 1, node.body[0].end_lineno or 0))
            del node.body[0]
    return taken


def shortened(content: bytes) -> bytes:
    """A Python file with the same lines, which means the same, without comments and private docstrings."""
    text = content.decode()
    lines, tree = text.split("\n"), ast.parse(text)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    for docstring in private_docstrings(tree):
        lines[docstring.start : docstring.stop] = [""] * len(docstring)
    changed = "\n".join(lines)
    if ast.dump(ast.parse(changed)) != ast.dump(tree):
        raise ValueError("a file means something else without its comments")
    return changed.encode()


def without_addresses(content: bytes) -> bytes:
    """A shared object (ELF, 64 bits) with zeros where its loader writes addresses.
    The relocations say what it writes. The linker gold puts the same numbers into these places, too.
    """
    relative = {62: 8, 183: 1027}.get(int.from_bytes(content[18:20], "little"))  # x86-64, aarch64
    if content[:6] != b"\x7fELF\2\1" or relative is None:
        return content
    start, count = struct.unpack_from("<Q16xH", content, 32)  # of the program headers
    segments = [struct.unpack_from("<IIQQQQQQ", content, start + 56 * i) for i in range(count)]
    loaded = [s for s in segments if s[0] == 1]
    (dynamic,) = (content[s[2] : s[2] + s[5]] for s in segments if s[0] == 2)
    entries = dict(struct.iter_unpack("<qQ", dynamic))  # 7: where the relocations are, 8: their bytes

    def place(address: int) -> int:
        (found,) = (address - s[3] + s[2] for s in loaded if s[3] <= address < s[3] + s[5])
        return found

    changed, relocations = bytearray(content), place(entries[7])
    for address, kind, _ in struct.iter_unpack("<QQq", content[relocations : relocations + entries[8]]):
        if kind == relative:
            at = place(address)
            changed[at : at + 8] = bytes(8)
    return bytes(changed)


def recorded(content: bytes) -> str:
    """What RECORD says of a file."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"sha256={digest},{len(content)}"


def contents(source: zipfile.ZipFile, files: list[zipfile.ZipInfo]) -> dict[str, bytes]:
    """The files of a wheel as they will be, RECORD among them."""
    made = {entry.filename: source.read(entry) for entry in files}
    made |= {name: shortened(content) for name, content in made.items() if name.endswith(".py")}
    made |= {name: without_addresses(content) for name, content in made.items() if ".so" in name}
    (record,) = (name for name in made if name.endswith(".dist-info/RECORD"))
    rows = []
    for row in made[record].decode().splitlines():
        name = row.rsplit(",", 2)[0]
        rows.append(f"{name},{recorded(made[name])}" if name in made and name != record else row)
    made[record] = ("\n".join(rows) + "\n").encode()
    return made


def rewrite(wheel: Path) -> None:
    body, directory = bytearray(), bytearray()
    with zipfile.ZipFile(wheel) as source:
        files = [entry for entry in source.infolist() if not entry.is_dir()]
        made = contents(source, files)
        for entry in files:
            content, name = made[entry.filename], entry.filename.encode()
            packed = deflated(content)
            year, month, day, hour, minute, second = entry.date_time
            time = hour << 11 | minute << 5 | second // 2
            date = (year - 1980) << 9 | month << 5 | day
            utf8 = 0 if name.isascii() else 0x800
            sizes = (zlib.crc32(content), len(packed), len(content), len(name))
            both = struct.pack("<5H3L2H", VERSION, utf8, METHOD, time, date, *sizes, 0)
            directory += struct.pack("<4sBB", b"PK\1\2", VERSION, UNIX) + both
            directory += struct.pack("<3H2L", 0, 0, 0, entry.external_attr, len(body)) + name
            body += b"PK\3\4" + both + name + packed
    count = len(files)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
    wheel.write_bytes(body + directory + end)
    with zipfile.ZipFile(wheel) as written:
        damaged = written.testzip()
    if damaged:
        raise ValueError(f"{wheel}: {damaged} was not written correctly")


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        before = path.stat().st_size
        rewrite(path)
        print(f"{path.name}: {before:,} -> {path.stat().st_size:,} bytes")
