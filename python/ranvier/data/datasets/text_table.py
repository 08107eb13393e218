"""The text of a table: its encoding, separator and header. pandas parses the lines."""

from __future__ import annotations

import codecs
import csv
import gzip
import importlib
import io
import itertools
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["DATE", "DECIMAL_COMMA", "TableError", "TextTable", "is_number", "is_value", "read_table"]

MARKS = ("", "na", "n/a", "nan", "null", "none", "?", "-", "--", "#n/a", "#na", "<na>")  # of missing values
DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
DATE = re.compile(
    r"\d{4}([-/.])\d{1,2}\1\d{1,2}([ T].*)?|\d{1,2}([-/.])\d{1,2}\3\d{2,4}( .*)?|\d{1,2}:\d\d(:\d\d.*)?"
    rf"|\d{{1,2}}[- ]{_MONTH}[- ]\d{{2,4}}( .*)?|{_MONTH} \d{{1,2}},? \d{{4}}( .*)?"
    r"|(19|20)\d\d-(0[1-9]|1[0-2]|Q[1-4])|(19|20)\d\dQ[1-4]|-?\d+ days( .*)?",
    re.I,
)
SEPARATORS = (",", ";", "\t", "|")
NAMED = {"tab": "\t", "\\t": "\t", "blanks": " ", "space": " "}  # names that a shell needs no quotes for
SPOKEN = {"\t": "tabs", " ": "blanks"}
LOOKED_AT = 1000  # lines for the decisions about separator and header
BLOCK = 1 << 20  # characters that have these lines
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class TableError(ValueError):
    """A table that cannot be read.

    Attributes:
        problem: what is wrong.
        remedies: the arguments of `load_csv` that help: (name, value, effect).
    """

    def __init__(self, problem: str, *remedies: tuple[str, Any, str]) -> None:
        self.problem, self.remedies = f"[load_csv] {problem}", remedies
        texts = [f"{name}={value!r} {effect}" for name, value, effect in remedies]
        super().__init__("; ".join([self.problem, *texts]))


@dataclass
class TextTable:
    path: Path
    delimiter: str  # " " for runs of blanks, which are tabs in `text`
    decimal: str
    marks: frozenset[str]  # of missing values, in lower case
    own_marks: bool  # whether the caller gave them
    names: list[str] | None
    width: int
    text: str  # the lines after the header
    start: int  # the number of lines before them
    first: list[str]  # the cells of the first line of the file
    head: list[list[str]]  # those of the first lines after the header

    @property
    def mark(self) -> str:
        """The separator in `text`."""
        return "\t" if self.delimiter == " " else self.delimiter

    @property
    def separated(self) -> str:
        return f"separated by {SPOKEN.get(self.delimiter) or repr(self.delimiter)}"

    def column(self, at: int) -> str:
        return f"column '{self.names[at]}'" if self.names else f"column {at}"

    def name(self, at: int) -> str:
        return self.names[at] if self.names else str(at)

    def is_missing(self, cell: str) -> bool:
        return cell.lower() in self.marks

    def point(self, cell: str) -> str:
        """The cell with a decimal point."""
        return cell if self.decimal == "." else cell.replace(".", "\0").replace(self.decimal, ".")

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The numbers of the lines in the file, from 1, and their cells; without empty lines."""
        return _rows(self.text, self.mark, self.start)

    def line(self, row: int) -> int:
        return next(number for at, (number, _) in enumerate(self.rows()) if at == row)

    def parse(self, **how: Any) -> Any:
        """The cells as a DataFrame of pandas; its arguments say which columns, and as what."""
        pandas = _pandas(self.path)
        if "dtype" not in how:
            marks = {spelled for mark in self.marks for spelled in (mark, mark.upper(), mark.title())}
            how["na_values"] = sorted(marks | ({"NaN"} if "nan" in marks else set()))
        how |= {"header": None, "sep": self.mark, "decimal": self.decimal, "skipinitialspace": True}
        how |= {"keep_default_na": False, "float_precision": "round_trip", "low_memory": False}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # float_precision: deprecated in pandas 3, necessary in 2
                return pandas.read_csv(io.BytesIO(self.text.encode()), **how)
        except ValueError as error:  # lines of unequal length, no end of a quotation
            self.require_width()
            raise TableError(f"'{self.path}' cannot be read: {error}") from None

    def require_width(self) -> None:
        """Raise TableError for a line with another number of cells than the first one."""
        for number, cells in self.rows():
            if len(cells) != self.width:
                raise _unequal(self.path, number, len(cells), self.width, self.delimiter)


def read_table(
    path: Path,
    header: bool | str = "auto",
    delimiter: str | None = None,
    decimal: str = ".",
    encoding: str | None = None,
    missing_marks: Collection[str] | None = None,
    known: Collection[str] = (),
) -> TextTable:
    """The text of a table, and what its first lines tell; errors as of `load_csv`.

    known: names of columns: a first line with one of them, or with all if they are numbers, is a header.
    """
    if decimal not in (".", ","):
        raise ValueError(f"[load_csv] got decimal {decimal!r}; expected '.' or ','")
    if header not in (True, False, "auto"):
        raise ValueError(f"[load_csv] got header {header!r}; expected True, False or 'auto'")
    delimiter = NAMED.get(delimiter or "", delimiter)
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ValueError(
            f"[load_csv] got delimiter {delimiter!r}; expected one character, or ' ' for runs of blanks"
        )
    if isinstance(missing_marks, str):
        raise TypeError(f"[load_csv] got missing_marks {missing_marks!r}; expected a list of texts")
    own = missing_marks is not None
    marks = frozenset(
        mark.strip().lower() for mark in [*(MARKS if missing_marks is None else missing_marks), ""]
    )
    comments, text = _comments(_text(path, encoding).replace("\r\n", "\n").replace("\r", "\n"))
    if not text.strip():
        raise ValueError(f"[load_csv] '{path}' is empty; expected lines of numbers")
    delimiter = delimiter or _delimiter(text, decimal)
    if delimiter == " ":
        text = _tabbed(text)
    mark = "\t" if delimiter == " " else delimiter
    if delimiter == decimal and '"' not in text:
        raise ValueError(f"[load_csv] got delimiter and decimal {decimal!r}; expected different characters")
    if path.suffix.lower() == ".parquet":
        header = True
    lines = _head(text, mark)
    first, head, names = lines[0][1], [cells for _, cells in lines], None
    start = comments.count("\n")
    if header == "auto":
        words = {name for name in known if not name.isdigit()}
        numbers = {*known} - words
        named = bool(words & {*first}) or (len(numbers) > 1 and numbers <= {*first})
        header = named or _is_header(first, head[1:], marks, decimal)
        last = comments.strip().rpartition("\n")[2].lstrip("# ")
        above = next(_rows(_tabbed(last) if delimiter == " " else last, mark, 0), (0, []))[1]
        if not header and len(above) == len(first) > 1:  # the header of numpy.savetxt
            names = above
    if header:
        if len(head) == 1:
            raise ValueError(f"[load_csv] '{path}' has a header and no samples; expected at least one")
        end = lines[1][0] - 1
        names, head, text, start = first, head[1:], text.split("\n", end)[-1], start + end
    width = Counter(map(len, head)).most_common(1)[0][0]
    if names is not None:
        names = _as_many(names, width, head)
        if len(names) != width:
            raise _unequal(path, lines[0][0], len(names), width, delimiter)
    return TextTable(path, delimiter, decimal, marks, own, names, width, text, start, first, head)


def _unequal(path: Path, line: int, cells: int, width: int, delimiter: str) -> TableError:
    between = f"separated by {SPOKEN.get(delimiter) or repr(delimiter)}"
    return TableError(
        f"'{path}' line {line} has {cells} cell{'s' * (cells != 1)} {between}; expected {width} as in most "
        "lines",
        ("delimiter", ";" if delimiter == "," else ",", "names another separator"),
    )


def _as_many(names: list[str], width: int, head: list[list[str]]) -> list[str]:
    """A name for each cell, where separators end the lines, but not the header, or the header alone; and
    where R has written the names of rows, without a name above them."""
    if len(names) == width + 1 and not names[-1]:
        return names[:-1]
    if len(names) == width - 1:
        ended = all(not cells[-1] for cells in head if len(cells) == width)
        return [*names, ""] if ended else ["", *names]
    return names


def _pandas(path: Path) -> Any:
    try:
        return importlib.import_module("pandas")
    except ImportError:
        hint = "tables need pandas: pip install 'ranvier[data]' (arrays, .npy and .npz, need nothing)"
        raise ImportError(f"[load_csv] '{path}': {hint}") from None


def _rows(text: str, mark: str, before: int) -> Iterator[tuple[int, list[str]]]:
    """(number of the line, cells) of each line that is not empty."""
    reader = csv.reader(io.StringIO(text), delimiter=mark, skipinitialspace=True)
    start = 0
    try:
        for cells in reader:
            number, start = start + 1, reader.line_num
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield before + number, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise TableError(f"line {before + start + 1} cannot be read: {error}") from None


def _head(text: str, mark: str) -> list[tuple[int, list[str]]]:
    """The first lines, with their numbers."""
    block = BLOCK
    while True:
        lines = []
        for row in _rows(text[:block], mark, 0):
            lines.append(row)
            if len(lines) > LOOKED_AT:
                return lines
        if block >= len(text):
            return lines
        if len(lines) > 2:
            return lines[:-1]  # the last one may be cut off
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
        older = ("encoding", "latin-1", "reads older files")
        raise TableError(f"'{path}' is no text in UTF-8: {reason}", older) from None


def _parquet(path: Path) -> str:
    """The table of a Parquet file as comma-separated text, in which numbers keep all digits."""
    pandas = _pandas(path)
    try:
        frame = pandas.read_parquet(path)
        for name in [name for name, kind in frame.dtypes.items() if kind.kind == "O"]:
            if any(hasattr(value, "__len__") and not isinstance(value, str) for value in frame[name]):
                raise ValueError(f"column '{name}' has lists, not numbers or words")
        text: str = frame.to_csv(index=any(name is not None for name in frame.index.names))
    except ImportError as error:
        hint = "reading .parquet needs pyarrow, too: pip install pyarrow"
        raise ImportError(f"[load_csv] '{path}': {hint} ({str(error).splitlines()[0]})") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"[load_csv] '{path}' cannot be read as a Parquet file: {error}") from None
    return text


def _comments(text: str) -> tuple[str, str]:
    """The lines at the start that begin with "#" (all lines of the table may do) or are Excel's "sep=;"; the
    others."""
    lines = re.match(r"(?:sep=.\n)?(?:[^\S\n]*(?:#(?!n/?a\b)[^\n]*)?\n)*", text, re.I)
    end = lines.end() if lines and text[lines.end() :].strip() else 0
    return text[:end], text[end:]


def _delimiter(text: str, decimal: str) -> str:
    """What divides most of the first lines into equal numbers of cells.

    Of several, the one that makes most cells; but not a comma within numbers such as 1,5, nor one that
    leaves numbers with blanks between them.
    """
    candidates: list[tuple[float, int, str, list[list[str]]]] = []
    for mark in SEPARATORS:
        if mark == decimal and '"' not in text[:BLOCK]:
            continue
        rows = [cells for _, cells in _head(text, mark)]
        width, count = Counter(map(len, rows)).most_common(1)[0]
        if width > 1:
            candidates.append((count / len(rows), width, mark, rows))
    best = max((share for share, *_ in candidates), default=0.0)
    candidates = [row for row in candidates if row[0] == best]
    commas = [
        row
        for row in candidates
        if row[2] != "," and any(DECIMAL_COMMA.fullmatch(c) for cells in row[3][:20] for c in cells)
    ]
    chosen = max(commas or candidates, key=lambda row: row[1], default=None)
    if chosen is not None and not (chosen[2] == "\t" and all(map(_is_run, chosen[3]))):
        return chosen[2]
    other = ";" if decimal == "," else ","
    start = text if len(text) <= BLOCK else text[:BLOCK].rpartition("\n")[0]
    rows = [cells for _, cells in _head(_tabbed(start), "\t")]
    widths = {len(cells) for cells in rows[1:] or rows}
    return " " if len(widths) == 1 and min(*widths, len(rows[0])) > 1 else chosen[2] if chosen else other


def _is_run(cells: list[str]) -> bool:
    """Whether the first cell is numbers with blanks between them."""
    numbers = cells[0].split()
    return len(numbers) > 1 and all(map(is_number, numbers[:2]))


def _tabbed(text: str) -> str:
    """The text with a tab for each run of blanks between cells; quoted cells stay."""
    text = re.sub(r"^[ \t]+|[ \t]+$", "", text, flags=re.M)
    if '"' not in text:
        return re.sub(r"[ \t]+", "\t", text)
    return re.sub(r'("[^"]*")|[ \t]+', lambda found: found[1] or "\t", text)


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def is_value(cell: str) -> bool:
    """Whether it is a number with a decimal comma, a date or a time."""
    return bool(DECIMAL_COMMA.fullmatch(cell) or DATE.fullmatch(cell))


def _is_header(first: list[str], body: Sequence[list[str]], marks: frozenset[str], decimal: str) -> bool:
    """Whether the first line has names.

    It has if words stand above numbers or dates, and at most numbers that count beside them; if
    all its cells are words that do not occur in their columns again; or if its numbers count, above
    numbers with a decimal point, or from 0, as pandas names columns, beside words that do not occur again.
    """

    def kind(cell: str) -> str:
        number = is_number(cell.replace(decimal, ".")) or is_value(cell)
        return "missing" if cell.lower() in marks else "value" if number else "word"

    if len(first) > 1 and not first[-1]:  # a separator at the end of the line
        first = first[:-1]
    kinds = [kind(cell) for cell in first]
    columns = [[cells[at] for cells in body if at < len(cells)] for at in range(len(first))]
    if not body:
        return kinds.count("word") > 1  # one line: a sample has at most one word, the label
    above = 0  # words above values
    again = repeats = False  # a word of the first line, or another one, occurs in its column again
    pointed = 0  # whole numbers above numbers with a point
    for cell, of_cell, column in zip(first, kinds, columns, strict=True):
        of_column = Counter(map(kind, column))
        values, words = of_column["value"], of_column["word"]
        if of_cell == "word":
            above += values > 9 * words
            again |= cell in column
            repeats |= words > len({*column})
        elif of_cell == "value":
            pointed += values > 1 and all("." in other or kind(other) == "missing" for other in column)
    numbers = [cell for cell, of_cell in zip(first, kinds, strict=True) if of_cell == "value"]
    columns_from_0 = numbers == [str(i) for i in range(len(numbers))]
    if again:
        return False
    if above:
        return above > len(numbers) or (_counts(numbers) and (len(numbers) != 2 or columns_from_0))
    if kinds[1:].count("word") == len(first) - 1 and (
        kinds[0] == "word" or (not first[0] and _counts(columns[0]))
    ):
        return len(body) > 1  # row numbers have no name
    if len(numbers) > 2:
        return (pointed > 0 and _counts(numbers)) or (columns_from_0 and repeats)
    return columns_from_0 and pointed == 2 and repeats


def _counts(cells: list[str]) -> bool:
    """Whether they are whole numbers at equal distances, as years and the numbers of columns are."""
    if not all(cell.isdigit() for cell in cells):
        return False
    steps = {int(b) - int(a) for a, b in itertools.pairwise(cells)}
    return len(steps) < 2 and 0 not in steps
