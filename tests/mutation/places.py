"""The places of a C++ file that can be changed. clang-format puts blanks about binary operators alone."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PAIRS = ("< <=", "> >=", "== !=", "+ -", "* /", "&& ||", "& |", "<< >>", "+= -=", "*= /=", "|= &=", "% /")
OPERATORS = {a: b for pair in PAIRS for a, b in (pair.split(), pair.split()[::-1])} | {"/": "*"}
SKIPPED = re.compile(r'//[^\n]*|/\*.*?\*/|^[ \t]*#[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL | re.MULTILINE)
PLACE = re.compile(
    r"(?<= )(?P<operator>[-+*/%&|<>=!]{1,2})(?= )|(?<![\w.'])(?P<number>\d+)(?![\w.'])"
    r"|\bif \((?=(?P<condition>[^(){};]+)\))|^ +(?P<statement>[\w:.>-]+\([^{};]*\);)$",
    re.MULTILINE,
)
FIXED = re.compile(r"\b(constexpr|static_assert|case|using|enum|template|alignas|namespace)\b")


@dataclass(frozen=True)
class Place:
    file: Path
    start: int
    end: int
    before: str
    after: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.before} -> {self.after or '(dropped)'}"


def places(file: Path, text: str) -> Iterator[Place]:
    """All places of a file, each with one change."""
    code = SKIPPED.sub(lambda match: re.sub(r"[^\n]", "_", match.group()), text)
    for match in PLACE.finditer(code):
        kind, before = str(match.lastgroup), str(match[match.lastgroup or 0])
        start, line = match.start(kind), code.count("\n", 0, match.start(kind)) + 1
        if kind == "operator" and before not in OPERATORS:
            continue
        if FIXED.search(code, code.rfind("\n", 0, start) + 1, start):
            continue
        after = {
            "operator": OPERATORS.get(before, ""),
            "number": str(int(before) + 1) if kind == "number" else "",
            "condition": f"!({before})",
            "statement": "",
        }[kind]
        yield Place(file, start, start + len(before), before, after, line)


def drawn(files: Iterable[Path], count: int, seed: int) -> list[Place]:
    """`count` places of these files."""
    every = [place for file in files for place in places(file, file.read_text())]
    return random.Random(seed).sample(every, min(count, len(every)))
