"""The text of a table: its encoding, header, delimiter and lines."""

from __future__ import annotations

import codecs
import csv
import gzip
import importlib
import itertools
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

__all__ = ["DATE", "DECIMAL_COMMA", "MISSING", "TextTable", "is_number", "read_table"]

MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")

DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")
DATE = re.compile(
    r"\d{4}([-/.])\d{1,2}\1\d{1,2}([ T].*)?|\d{1,2}([-/.])\d{1,2}\3\d{2,4}( .*)?|\d{1,2}:\d\d(:\d\d)?"
)
LOOKED_AT = 1000  # lines for the decision whether the first one has names
BLOCK = 1 << 20  # characters that have these lines
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass
class TextTable:
    path: Path
    delimiter: str
    names: list[str] | None
    text: str
    offset: int  # where the text continues after the header
    first: list[str]  # the cells of the first line after the header
    width: int  # cells of the first line
    decimal: str = "."

    @cached_property
    def _kept(self) -> list[tuple[int, str]]:
        lines = self.text[self.offset :].splitlines()
        before = len(self.text[: self.offset].splitlines())
        if any(line.count('"') & 1 for line in lines):
            return self._joined(lines, before)
        return [(number, line) for number, line in enumerate(lines, before + 1) if line.strip()]

    def _joined(self, lines: list[str], before: int) -> list[tuple[int, str]]:
        """The same of lines of which some continue a cell in quotes."""
        reader = csv.reader(lines, delimiter=self.delimiter, skipinitialspace=True)
        ends = [0, *(reader.line_num for _ in reader)]
        rows = ((start, "\n".join(lines[start:end])) for start, end in itertools.pairwise(ends))
        return [(before + 1 + start, row) for start, row in rows if row.strip()]

    @cached_property
    def lines(self) -> list[str]:
        """The lines without the header and empty ones."""
        return [line for _, line in self._kept]

    @cached_property
    def numbers(self) -> list[int]:
        """The numbers of the lines in the file, from 1."""
        return [number for number, _ in self._kept]

    def column(self, at: int) -> str:
        return f"column '{self.names[at]}'" if self.names else f"column {at}"

    def name(self, at: int) -> str:
        return self.names[at] if self.names else str(at)

    def rows(self) -> Iterator[list[str]]:
        return csv.reader(self.lines, delimiter=self.delimiter, skipinitialspace=True)

    def beginning(self, at: int) -> list[str]:
        """The cells of a column in the first LOOKED_AT lines."""
        lines = self.text[self.offset : self.offset + BLOCK].splitlines()[:LOOKED_AT]
        rows = csv.reader(lines, delimiter=self.delimiter, skipinitialspace=True)
        return [row[at].strip() for row in rows if len(row) > at]

    def point(self, cell: str) -> str:
        """The cell with a decimal point."""
        return cell if self.decimal == "." else cell.replace(".", "\0").replace(self.decimal, ".")

    def require_width(self) -> None:
        """Raise ValueError for a line with another number of cells than the first one."""
        if any('"' in line for line in self.lines):
            widths = [len(row) for row in self.rows()]
        else:
            widths = [line.count(self.delimiter) + 1 for line in self.lines]
        for number, width in zip(self.numbers, widths, strict=False):
            if width != self.width:
                raise ValueError(
                    f"[load_csv] '{self.path}' line {number} has {width} cells; expected {self.width} as in "
                    "the first line"
                )


def read_table(
    path: Path,
    header: bool | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
    encoding: str | None = None,
) -> TextTable:
    """The text of a table, and what its first lines tell; errors as of `load_csv`."""
    if decimal not in (".", ","):
        raise ValueError(f"[load_csv] got decimal {decimal!r}; expected '.' or ','")
    text = _text(path, encoding)
    end, lines = _first_lines(text)
    if not lines:
        raise ValueError(f"[load_csv] '{path}' is empty; expected lines of numbers")
    quoted = decimal == "," and any('"' in line for line in lines)  # numbers such as "1,5" between commas
    if delimiter is None:
        delimiter = _delimiter(lines[0], decimal)
        if quoted and delimiter not in lines[0]:
            delimiter = ","
    if delimiter == decimal and not quoted:
        raise ValueError(f"[load_csv] got delimiter and decimal {decimal!r}; expected different characters")
    start = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    first = start[0]
    if header is None:
        header = _is_header(first, start[1:], decimal)
    if header and len(start) == 1:
        raise ValueError(f"[load_csv] '{path}' has a header and no samples; expected at least one")
    names = [cell.strip() for cell in first] if header else None
    return TextTable(
        path, delimiter, names, text, end if header else 0, start[1 if header else 0], len(first), decimal
    )


def _first_lines(text: str) -> tuple[int, list[str]]:
    """Where the first line that is not empty ends, and up to LOOKED_AT such lines."""
    block = BLOCK
    while True:
        lines = text[:block].splitlines(keepends=True)
        if block < len(text):
            del lines[-1]  # it may be cut off
        kept = [line for line in lines if line.strip()]
        if len(kept) > 1 or block >= len(text):
            before = sum(map(len, itertools.takewhile(lambda line: not line.strip(), lines)))
            end = before + len(kept[0]) if kept else 0
            return end, [line.splitlines()[0] for line in kept[:LOOKED_AT]]
        block *= 4


def _text(path: Path, encoding: str | None) -> str:
    if path.suffix.lower() == ".parquet":
        return _parquet(path)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as stream:
            content: bytes = stream.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"[load_csv] '{path}' is a damaged or cut off gzip file: {error}") from None
    if encoding is None:
        encoding = "utf-16" if content.startswith(UTF_16) else "utf-8"
    try:
        name = codecs.lookup(encoding).name
        return content.decode("utf-8-sig" if name == "utf-8" else name)
    except LookupError:
        raise ValueError(
            f"[load_csv] got encoding {encoding!r}; expected a name such as utf-8, latin-1, cp1252"
        ) from None
    except UnicodeError as error:
        reason = getattr(error, "reason", error)
        if name != "utf-8":
            raise ValueError(f"[load_csv] '{path}' is no text in {encoding}: {reason}") from None
        hint = "pass encoding='latin-1' (--encoding latin-1), or another one, if the file is older"
        raise ValueError(f"[load_csv] '{path}' is no text in UTF-8: {reason}; {hint}") from None


def _parquet(path: Path) -> str:
    """The table of a Parquet file as comma-separated text, in which numbers keep all digits."""
    try:
        pandas = importlib.import_module("pandas")
        frame = pandas.read_parquet(path)
        for name in [name for name, kind in frame.dtypes.items() if kind.kind == "O"]:
            if any(hasattr(value, "__len__") and not isinstance(value, str) for value in frame[name]):
                raise ValueError(f"column '{name}' has lists, not numbers or words")
        text: str = frame.to_csv(index=any(name is not None for name in frame.index.names))
    except ImportError as error:
        hint = "reading .parquet needs pandas and pyarrow: pip install pandas pyarrow"
        raise ImportError(f"[load_csv] '{path}': {hint} ({str(error).splitlines()[0]})") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"[load_csv] '{path}' cannot be read as a Parquet file: {error}") from None
    return text


def _delimiter(line: str, decimal: str) -> str:
    """The most frequent one, but not a comma within the numbers of a line with semicolons or tabs."""
    for mark in (";", "\t"):
        if mark in line and any(DECIMAL_COMMA.fullmatch(cell.strip()) for cell in line.split(mark)):
            return mark
    return max((mark for mark in (",", ";", "\t") if mark != decimal), key=line.count)


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_header(first: list[str], rest: list[list[str]], decimal: str) -> bool:
    """Whether the first line has names.

    A column has a word in it and a number or date in the second line; or the table has words only,
    and no cell of the first line occurs in its column again.
    """
    words = [not is_number(cell.replace(decimal, ".")) for cell in first]
    if not rest:  # one line: a sample has at most one word, the label
        return sum(words) > 1
    pairs = zip(words, first, rest[0], strict=False)
    if any(word and _is_value(second) and not _is_value(cell) for word, cell, second in pairs):
        return True
    again = any(
        cell == other and not _is_value(other)
        for row in rest
        for cell, other in zip(first, row, strict=False)
    )
    return all(words) and len(rest) > 1 and not again and not any(map(_is_value, first))


def _is_value(cell: str) -> bool:
    cell = cell.strip()
    return is_number(cell) or bool(DECIMAL_COMMA.fullmatch(cell) or DATE.fullmatch(cell))
