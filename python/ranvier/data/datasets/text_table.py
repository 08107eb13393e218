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
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ranvier.data.datasets.samples import unpacked
from ranvier.serialization.foreign_files import BEGIN, recognised
from ranvier.tensors.strangers import printable

MARKS = frozenset(("", "na", "n/a", "nan", "null", "none", "?", "-", "--", "#n/a", "#na", "<na>"))
MARKS |= {"#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!"}  # Excel's errors
GAP, NUMBER, COMMA, DATE, WORD = range(5)  # kinds of cells: missing, "1.5", "1,5", "2024-01-05", others
DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
DATES = re.compile(
    r"\d{4}([-/.])\d{1,2}\1\d{1,2}([ T].*)?|\d{1,2}([-/.])\d{1,2}\3\d{2,4}( .*)?|\d{1,2}:\d\d(:\d\d.*)?"
    rf"|\d{{1,2}}[- ]{_MONTH}[- ]\d{{2,4}}( .*)?|{_MONTH} \d{{1,2}},? \d{{4}}( .*)?"
    r"|(19|20)\d\d-(0[1-9]|1[0-2]|Q[1-4])|(19|20)\d\dQ[1-4]|-?\d+ days( .*)?",
    re.I,
)
SEPARATORS = (",", ";", "\t", "|", " ")
NAMED = {"tab": "\t", "\\t": "\t", "blanks": " ", "space": " "}  # names that a shell needs no quotes for
SPOKEN = {"\t": "tabs", " ": "blanks"}
MOST_COLUMNS = 2**16  # each takes pandas and this some 40 us
LOOKED_AT = 500  # lines for the decisions about separator and header
UNICODE = {  # the beginnings of files in other encodings than UTF-8
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
SEP_LINE = re.compile(r'"?sep=([^"\r\n])"?(?=[\r\n])', re.I)
EXCEL = (b"PK\3\4", b"\xd0\xcf\x11\xe0")  # .xlsx and other zip archives, .xls
NOT_TEXT = (
    "is a workbook of Excel, or another archive; save the sheet as CSV, or convert it: "
    "pandas.read_excel(path).to_csv('table.csv', index=False)"
)


def short(text: str) -> str:
    """A text, of which the middle is left out if it is long."""
    return text if len(text) <= 60 else f"{text[:40]}...{text[-10:]}"


class TableError(ValueError):
    """A table that cannot be read.

    Attributes:
        problem: what is wrong.
        remedies: the arguments of `load_csv` that help: (name, value, effect).
    """

    def __init__(self, problem: str, *remedies: tuple[str, Any, str]) -> None:
        self.problem, self.remedies = f"[load_csv] {problem}", remedies
        texts = [f"{name}={value!r} {effect}" for name, value, effect in remedies]
        super().__init__(printable("; ".join([self.problem, *texts])))


@dataclass
class TextTable:
    path: Path
    text: str
    delimiter: str  # " " for runs of blanks
    decimal: str
    marks: frozenset[str]  # the words for missing values, in lower case
    names: list[str] | None
    width: int  # cells of a line
    head: list[list[str]]  # the cells of the first lines after the header

    @property
    def separated(self) -> str:
        return f"separated by {SPOKEN.get(self.delimiter) or repr(self.delimiter)}"

    def column(self, at: int) -> str:
        return f"column {self.name(at)!r}" if self.names else f"column {at}"

    def name(self, at: int) -> str:
        return self.names[at] if self.names else str(at)

    def cell(self, row: int, at: int) -> tuple[str, str]:
        """The place of a cell in the file, as text, and its content."""
        rows = itertools.islice(_rows(self.text, self.delimiter), row + bool(self.names), None)
        number, cells = next(rows)
        return f"'{self.path}' line {number}, {self.column(at)}", cells[at]

    def point(self, cell: str) -> str:
        """The cell with a decimal point."""
        return cell if self.decimal == "." else cell.replace(".", "\0").replace(self.decimal, ".")

    def kind(self, cell: str) -> int:
        if cell.lower() in self.marks:
            return GAP
        if is_number(self.point(cell)):
            return NUMBER
        return COMMA if DECIMAL_COMMA.fullmatch(cell) else DATE if DATES.fullmatch(cell) else WORD

    def parse(self, **how: Any) -> Any:
        """The cells as a DataFrame of pandas; its arguments say which columns, and as what."""
        pandas = importlib.import_module("pandas")
        # Other spellings are left to `Column`, which knows them.
        how = {"na_values": [*self.marks, *map(str.upper, self.marks)]} | how
        how |= {"header": 0 if self.names else None, "index_col": False, "decimal": self.decimal}
        how |= {"sep": r"\s+" if self.delimiter == " " else self.delimiter, "skipinitialspace": True}
        how |= {"keep_default_na": False, "float_precision": "round_trip", "low_memory": False}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # float_precision: deprecated in pandas 3, necessary in 2
                # It warns of cells that it leaves out.
                warnings.simplefilter("error", pandas.errors.ParserWarning)
                frame = pandas.read_csv(io.BytesIO(self.text.encode()), **how)
        except (ValueError, pandas.errors.ParserWarning) as error:
            self.require_width()
            raise TableError(f"'{self.path}' cannot be read: {error}") from None
        frame.columns = sorted(how.get("usecols", range(frame.shape[1])))  # pandas keeps the file's order
        return frame

    def require_width(self) -> None:
        """Raise TableError for a line of another length than most; a separator may end the lines."""
        for number, cells in _rows(self.text, self.delimiter):
            if len(cells) != self.width and (len(cells) != self.width + 1 or cells[-1]):
                begin = short(cells[0])
                text = (
                    f"'{self.path}' line {number} has {len(cells)} cell{'s' * (len(cells) != 1)} "
                    f"{self.separated}; expected {self.width} as in most lines; it begins {begin!r}"
                )
                if "\n" in cells[-1]:
                    text += ", and has a quote that is not closed"
                if begin[:1] in ("#", "%", "@") or (number == 1 and len(cells) == 1 < self.width):
                    raise TableError(f"{text}: remove the line if it is a comment or a title")
                other = ";" if self.delimiter == "," else ","
                raise TableError(text, ("delimiter", other, "names another separator"))


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
    delimiter = NAMED.get(delimiter or "", delimiter)
    one_character = delimiter is None or (len(delimiter) == 1 and delimiter not in '"\r\n')
    for name, value, known_value, expected in (
        ("decimal", decimal, decimal in (".", ","), "'.' or ','"),
        ("header", header, header in (True, False, "auto"), "True, False or 'auto'"),
        ("delimiter", delimiter, one_character, "one character, or ' ' for runs of blanks"),
        ("missing_marks", missing_marks, not isinstance(missing_marks, str), "a list of texts"),
    ):
        if not known_value:
            raise ValueError(f"[load_csv] got {name} {value!r}; expected {expected}")
    marks = MARKS if missing_marks is None else frozenset(["", *(m.strip().lower() for m in missing_marks)])
    parquet = path.suffix.lower() == ".parquet"
    text = _text(path, encoding, known)
    if not text.strip():
        raise ValueError(f"[load_csv] '{path}' is empty; expected lines of numbers")
    if found := SEP_LINE.match(text):  # Excel's; the line stays, empty, so that lines keep their numbers
        delimiter, text = delimiter or found[1], text[found.end() :]
    delimiter = "," if parquet else delimiter or _delimiter(text, decimal)
    if delimiter == decimal and '"' not in text:
        raise ValueError(f"[load_csv] got delimiter and decimal {decimal!r}; expected different characters")
    head = _head(text, delimiter)
    if not head:
        raise TableError(f"'{path}' has no cells; expected lines of numbers")
    table = TextTable(path, text, delimiter, decimal, marks, None, 0, head)
    if header == "auto" and not parquet:
        words = {name for name in known if not name.isdigit()}
        numbers = {*known} - words
        named = bool(words & {*head[0]}) or (len(numbers) > 1 and numbers <= {*head[0]})
        header = named or _is_header(table)
    names = head[0] if header or parquet else None
    table.head = head if names is None else head[1:]
    if not table.head:
        raise ValueError(f"[load_csv] '{path}' has a header and no samples; expected at least one")
    width = Counter(map(len, table.head)).most_common(1)[0][0]
    if width > MOST_COLUMNS:
        text = f"'{path}' has {width} columns; expected at most {MOST_COLUMNS}"
        raise TableError(f"{text}: np.save writes an array, whose .npy file has no such limit")
    ended = width > 1 and not any(cells[-1] for cells in table.head if len(cells) == width)
    if ended and (names is None or len(names) < width or not names[-1]):
        width -= 1  # a separator ends the lines
    if names and len(names) == width + 1 and not names[-1]:
        names = names[:-1]
    table.names, table.width = names, width
    if any(len(cells) != width for cells in (names or table.head[0], *table.head)):
        table.require_width()
    return table


def _parquet_text(path: Path, known: Collection[str]) -> str:
    """Comma-separated text, in which numbers keep all digits and texts are quoted."""
    try:
        frame = importlib.import_module("pandas").read_parquet(path)
    except ValueError as error:
        if not str(error).startswith("Multiple matches"):
            raise
        text = f"'{path}' has columns of the same name; expected different names"
        raise TableError(f"{text}: {str(error).splitlines()[0]}") from None
    if frame.columns.nlevels > 1:
        text = (
            f"'{path}' has names of {frame.columns.nlevels} levels, such as {frame.columns[0]!r}; expected "
        )
        raise TableError(text + "one for a column: frame.columns = ['_'.join(map(str, c)) for c in frame]")
    for name, column in frame.items():
        first = next(iter(column.dropna()), 0) if column.dtype == object and str(name) not in known else 0
        if not (isinstance(first, str) or is_number(str(first)) or hasattr(first, "isoformat")):
            text = f"'{path}' column {name!r} holds {type(first).__name__}, such as {str(first)[:40]!r}"
            text = f"{text}; expected a number or a text in each cell: of lists, a column for each entry"
            raise TableError(text, ("without", [str(name)], "leaves the column out"))
    named = any(name is not None for name in frame.index.names)
    return str(frame.to_csv(index=named, quoting=csv.QUOTE_NONNUMERIC))


def _text(path: Path, encoding: str | None, known: Collection[str]) -> str:
    """The text of a file."""
    try:
        importlib.import_module("pandas")
        if path.suffix.lower() == ".parquet":
            return _parquet_text(path, known)
        content = unpacked(path) if path.suffix == ".gz" else path.read_bytes()
        name = encoding or next((n for mark, n in UNICODE.items() if content.startswith(mark)), "utf-8")
        if name == "utf-8":
            _require_text(path, content)
        return content.decode(name).removeprefix("\ufeff")
    except TableError:
        raise
    except ImportError as error:
        hint = "tables need pandas, .parquet files pyarrow, too: pip install 'ranvier[data]' pyarrow"
        raise ImportError(f"[load_csv] '{path}': {hint} ({str(error).splitlines()[0]})") from None
    except LookupError:
        text = "expected a name such as utf-8, latin-1, cp1252"
        raise ValueError(f"[load_csv] got encoding {encoding!r}; {text}") from None
    except UnicodeError as error:
        older = ("encoding", "cp1252" if b"\x80" in content else "latin-1", "reads older files")
        text = f"'{path}' is no text in {name.upper()}: {getattr(error, 'reason', error)}"
        raise TableError(text, *([] if encoding else [older])) from None
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise ValueError(f"[load_csv] '{path}' is damaged or cut off: {error}") from None


def _require_text(path: Path, content: bytes) -> None:
    """Raise TableError for a file of another kind, and for text with NUL bytes."""
    begin = content[:BEGIN]
    kind = NOT_TEXT if begin.startswith(EXCEL) else recognised(begin, plain=False)
    if begin.startswith(b"PAR1") and kind:
        kind = "is a Parquet file; its name has to end in .parquet"
    if re.match(rb'\s*(\{\s*"|\[\s*[\[{])', begin):
        kind = "is JSON; pandas.read_json(path).to_csv('table.csv', index=False) converts it"
    if kind:
        raise TableError(f"'{path}' {kind}")
    at = content.find(0)
    if at >= 0:
        wide = [
            n for n, part in (("utf-16-le", begin[1::2]), ("utf-16-be", begin[::2])) if not any(part[:40])
        ]
        line = content.count(b"\n", 0, at) + 1
        text = f"'{path}' line {line} holds a NUL byte: the file is damaged, or in another encoding"
        raise TableError(text, *(("encoding", n, "reads two bytes a letter") for n in wide if any(begin)))


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(number of the line, from 1, and cells) of each line that is not empty."""
    lines: Iterable[str] = io.StringIO(text, newline=None)
    if delimiter == " ":
        lines = (line.strip().replace("\t", " ") + "\n" for line in lines)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    end = 0
    try:
        for cells in reader:
            start, end = end + 1, reader.line_num
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield start, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise TableError(f"line {end + 1} cannot be read: {error}") from None


def _head(text: str, delimiter: str) -> list[list[str]]:
    lines = max(20, min(LOOKED_AT, (1 << 20) // (text.find("\n") + 2)))  # fewer of wide tables
    return [cells for _, cells in itertools.islice(_rows(text, delimiter), lines)]


def _delimiter(text: str, decimal: str) -> str:
    """The delimiter that divides most of the first lines into equally many cells, and leaves most numbers."""
    ranked: list[tuple[float, float, bool, int, str]] = []
    for mark in SEPARATORS:
        try:
            rows = _head(text, mark)
        except TableError:  # wide lines are one cell of others
            continue
        width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
        if width > 1 and (mark != decimal or '"' in text[:10000]):
            cells = [cell.replace(",", ".", 1) for row in rows[:20] for cell in row if cell]
            numbers = sum(map(is_number, cells)) / max(1, len(cells))
            ranked.append((count / len(rows), numbers, mark not in " ,", width, mark))
    return max(ranked)[-1] if ranked else ";" if decimal == "," else ","


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _is_header(table: TextTable) -> bool:
    """True if the first line has names: words above numbers, or words alone that do not occur again.

    Numbers are names where they count, as years do, or from 0, as pandas names columns, above numbers with a
    decimal point or beside a word whose column repeats others.
    """
    first, *body = table.head
    first = first[:-1] if len(first) > 1 and not first[-1] else first  # a separator at the end of the line
    columns = [[row[at] for row in body if at < len(row)] for at in range(len(first))]
    kinds = [[table.kind(cell) for cell in column] for column in columns]
    words = [at for at, cell in enumerate(first) if table.kind(cell) == WORD]
    numbers = [cell for cell in first if table.kind(cell) not in (GAP, WORD)]
    if not body:
        return len(words) > 1  # one line: a sample has at most one word, the label
    if any(first[at] in columns[at] for at in words):
        return False
    above = [at for at in words if len(body) > 9 * kinds[at].count(WORD) + kinds[at].count(GAP)]
    from_0 = numbers == [str(i) for i in range(len(numbers))]
    whole = [int(cell) for cell in numbers if cell.isdigit()]
    steps = {b - a for a, b in itertools.pairwise(whole)}
    counts = len(whole) == len(numbers) and len(steps) < 2 and 0 not in steps
    if above:
        return len(above) > len(numbers) or from_0 or (counts and len(numbers) != 2)
    if not numbers:
        return len(body) > 1 and len(words) + (not first[0]) == len(first)
    repeats = from_0 and any(len(columns[at]) > len({*columns[at]}) for at in words)
    pointed = [at for at in range(len(first)) if at not in words and all("." in cell for cell in columns[at])]
    if len(numbers) == 2:
        return repeats and len(pointed) == 2
    return len(numbers) > 2 and (repeats or (bool(pointed) and counts))
