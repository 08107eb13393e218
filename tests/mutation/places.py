"""The places of a C++ file that can be changed, and what each becomes ("mutants" of the program).

A place is found by a regular expression: an operator, a number, the condition of an `if`, or a statement that
calls something. clang-format puts blanks on both sides of binary operators only, so that these are known from
pointers and templates.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PAIRS = ("< <=", "> >=", "== !=", "+ -", "* /", "&& ||", "& |", "<< >>", "+= -=", "*= /=", "|= &=", "% /")
OPERATORS: dict[str, str] = {}  # what each operator becomes
for _pair in PAIRS:
    _first, _second = _pair.split()
    OPERATORS[_first] = _second
    OPERATORS[_second] = _first
OPERATORS["/"] = "*"  # not %, which doubles do not have
# comments, lines of the preprocessor and texts
SKIPPED = re.compile(r'//[^\n]*|/\*.*?\*/|^[ \t]*#[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL | re.MULTILINE)
PLACE = re.compile(
    r"(?<= )(?P<operator>[-+*/%&|<>=!]{1,2})(?= )|(?<![\w.'])(?P<number>\d+)(?![\w.'])"
    r"|\bif \((?=(?P<condition>[^(){};]+)\))|^ +(?P<statement>[\w:.>-]+\([^{};]*\);)$",
    re.MULTILINE,
)
# the rest of a line after one of these is left alone: a change would not compile, or have no effect
FIXED = re.compile(r"\b(constexpr|static_assert|case|using|enum|template|alignas|namespace)\b")


@dataclass(frozen=True)
class Place:
    """One change: the text from `start` to `end` of the file, which is `before`, becomes `after`."""

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
    code = SKIPPED.sub(_blanked, text)
    for match in PLACE.finditer(code):
        group = str(match.lastgroup)  # the name of the alternative that matched
        before = str(match[group])
        start = match.start(group)
        line_start = code.rfind("\n", 0, start) + 1
        if FIXED.search(code, line_start, start):
            continue
        if group == "operator":
            if before not in OPERATORS:
                continue
            after = OPERATORS[before]
        elif group == "number":
            after = str(int(before) + 1)
        elif group == "condition":
            after = f"!({before})"
        else:
            after = ""  # the statement is dropped
        line = code.count("\n", 0, start) + 1
        yield Place(file, start, start + len(before), before, after, line)


def _blanked(match: re.Match[str]) -> str:
    """As many characters in the same lines, in which no place is found."""
    return re.sub(r"[^\n]", "_", match.group())


def drawn(files: Iterable[Path], count: int, seed: int) -> list[Place]:
    """`count` places of these files."""
    all_places: list[Place] = []
    for file in files:
        all_places += places(file, file.read_text())
    return random.Random(seed).sample(all_places, min(count, len(all_places)))
