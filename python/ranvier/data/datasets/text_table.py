"""Tables in text files: their settings, separator, header and lines. pandas parses the cells."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from ranvier.data.datasets.frames import HELP, Table, require_pandas
from ranvier.data.datasets.headers import FIRST_LINES, header_of, separator_of
from ranvier.data.datasets.samples import is_frame, require_file, unpacked
from ranvier.data.datasets.table_errors import Remedy, TableError, short
from ranvier.data.datasets.table_settings import MARKS, ZEROS, checked
from ranvier.serialization.foreign_files import BEGIN, recognised

MOST_COLUMNS = 2**16  # each takes about 40 us
SPOKEN = {"\t": "tabs", r"\s+": "blanks"}
EXCEL = "is a workbook of Excel, or another archive; save the sheet as CSV, or pass pandas.read_excel(path)"
OTHERS = {  # how files of other kinds begin
    rb"PK\x03\x04|\xd0\xcf\x11\xe0": EXCEL,
    rb"PAR1[\x00-\x08\x0e-\x1f\x80-\xff]": "is a Parquet file; its name has to end in .parquet",
    rb'\s*(\{\s*"|\[\s*[\[{])': "is JSON; expected a table: pass pandas.read_json(path)",
}


class TextTable(Table):
    """The text of a file, of which pandas makes a frame."""

    def __init__(self, path: Path, settings: dict[str, Any], known: Collection[str]) -> None:
        self.title, self.path, self.settings = f"'{path}'", path, checked(settings)
        if self.settings["keep_default_na"]:
            marks = MARKS
        else:
            marks = frozenset(("",))
        self.marks = marks.union(mark.strip().lower() for mark in self.settings["na_values"])
        self.text = _text(path, self.settings["encoding"])
        separator_of(self.text, self.settings, self.title)
        count = max(20, min(FIRST_LINES, (1 << 20) // (self.text.find("\n") + 2)))  # fewer of wide tables
        head = [cells for _, cells in itertools.islice(self.lines(), count)]
        if not head:
            raise ValueError(f"[load_csv] {self.title} is empty; expected lines of numbers")
        if self.settings["header"] == "infer":
            self.settings["header"] = header_of(head, self, known)
        header = self.settings["header"]
        names = None
        if header is not None:
            names = head[header]
            head = head[header + 1 :]
        if not head:
            raise ValueError(f"[load_csv] {self.title} has a header and no samples; expected at least one")
        width = Counter(map(len, head)).most_common(1)[0][0]
        if width > MOST_COLUMNS:
            text = f"{self.title} has {width} columns; expected at most {MOST_COLUMNS}"
            raise TableError(f"{text}: np.save writes an array, whose .npy file has no such limit")
        ended = width > 1 and not any(cells[-1] for cells in head if len(cells) == width)
        if ended and (names is None or len(names) < width or not names[-1]):
            width -= 1  # a separator ends the lines
        if names and len(names) == width + 1 and not names[-1]:
            names = names[:-1]
        self.names = names
        self.width = width
        if any(len(cells) != width for cells in (names or head[0], *head)):
            self.require_width()

    def lines(self) -> Iterator[tuple[int, list[str]]]:
        """(number of the line, from 1, and cells) of each line that pandas reads."""
        sep, comment, skipped = (self.settings[name] for name in ("sep", "comment", "skiprows"))
        stream = io.StringIO(self.text, newline=None)
        blanks = sep == r"\s+"

        def line_of(at: int, line: str) -> str:
            """The line without its comment; an empty one where it is skipped."""
            if at < skipped:
                return "\n"
            if comment:
                line = line.partition(comment)[0] + "\n"
            if blanks:
                line = line.strip().replace("\t", " ") + "\n"
            return line

        lines = itertools.starmap(line_of, enumerate(stream))
        delimiter = " " if blanks else sep
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        end = 0
        try:
            for cells in reader:
                start = end + 1
                end = reader.line_num
                if len(cells) > 1 or (cells and cells[0].strip()):
                    yield start, [cell.strip() for cell in cells]
        except csv.Error as error:
            raise TableError(f"line {end + 1} cannot be read: {error}") from None

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The lines of samples."""
        header = self.settings["header"]
        first = 0 if header is None else header + 1
        return itertools.islice(self.lines(), first, None)

    def cell(self, row: int, at: int) -> tuple[str, str]:
        number, cells = next(itertools.islice(self.rows(), row, None))
        return f"{self.title} line {number}, {self.column(at)}", cells[at]

    def frame(self, texts: Collection[int]) -> Any:
        frame = self._parsed(texts)
        if frame[self.width - 1].isna().any():
            self.require_width()  # pandas fills the ends of short lines
        kinds = [dtype.kind for dtype in frame.dtypes.to_list()]
        objects = [at for at, kind in enumerate(kinds) if kind == "O" and at not in texts]
        flags = [at for at in objects if _has_bool(frame[at])]
        flags += [at for at, kind in enumerate(kinds) if kind == "b"]
        flags += self._codes().difference(texts)
        if flags:
            return self._parsed({*texts, *flags})
        return frame

    def _codes(self) -> set[int]:
        """The columns with a cell such as 007, of which pandas makes the number 7."""
        mark = re.escape(self.settings["sep"])
        edge = rf'"\s{mark}'
        if not re.search(rf"(?<![^{edge}])0\d+(?![^{edge}])", self.text):
            return set()
        found: set[int] = set()
        for _, cells in self.rows():
            found.update(at for at, cell in enumerate(cells) if ZEROS.fullmatch(cell))
        return found

    def _parsed(self, texts: Collection[int]) -> Any:
        """The frame that pandas reads; the columns `texts` as text, without which "true" becomes True."""
        pandas = require_pandas(self.title)
        how = {name: value for name, value in self.settings.items() if name != "encoding"}
        how |= {"index_col": False, "names": range(self.width), "skipinitialspace": True, "low_memory": False}
        how["na_values"] = []
        for mark in self.marks:
            how["na_values"] += [mark, mark.upper(), mark.title()]
        read_here = {*texts, *map(self.at, how.pop("parse_dates"))}
        del how["date_format"], how["dayfirst"]
        if how.pop("thousands"):  # pandas does not require groups of three digits
            read_here = {*range(self.width)}
        how["dtype"] = dict.fromkeys(read_here, str)
        how |= {"keep_default_na": False, "float_precision": "round_trip"}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # float_precision: deprecated in pandas 3, necessary in 2
                # It warns of cells that it leaves out.
                warnings.simplefilter("error", pandas.errors.ParserWarning)
                return pandas.read_csv(io.StringIO(self.text), **how)
        except (ValueError, pandas.errors.ParserWarning) as error:
            self.require_width()
            raise TableError(f"{self.title} cannot be read: {error}") from None

    def other_separator(self) -> list[Remedy]:
        if self.width == 1:
            marks = re.findall(r"[^\w\s.,'\"+-]", next(self.lines())[1][0])
        else:
            marks = []
        if marks:
            other = marks[0]
        elif self.settings["sep"] == ",":
            other = ";"
        else:
            other = ","
        return [("sep", other, "names another separator")]

    def require_width(self) -> None:
        """Raise TableError for a line of another length than most; a separator may end the lines."""
        for number, cells in self.lines():
            if len(cells) != self.width and (len(cells) != self.width + 1 or cells[-1]):
                begin = short(cells[0])
                sep = self.settings["sep"]
                text = (
                    f"{self.title} line {number} has {len(cells)} cell{'s' * (len(cells) != 1)} separated by "
                    f"{SPOKEN.get(sep) or repr(sep)}; expected {self.width} as in most lines; it begins "
                    f"{begin!r}"
                )
                if "\n" in cells[-1]:
                    text += ", and has a quote that is not closed"
                if begin[:1] in ("#", "%", "@"):
                    raise TableError(text, ("comment", begin[0], "leaves such lines out"))
                if number == 1 and len(cells) == 1 < self.width:
                    raise TableError(text, ("skiprows", 1, "leaves out a title"))
                raise TableError(text, *self.other_separator())


def _has_bool(cells: Iterable[object]) -> bool:
    return any(isinstance(cell, bool) for cell in cells)


def table_of(source: Any, known: Collection[str] = (), **settings: Any) -> Table:
    """The table of a file's path, or of a frame of pandas, polars or Arrow; errors name `load_csv`.

    known: names of columns. A first line that has one of them is a header; of names that are numbers it must
    have all.
    """
    if is_frame(source):
        frame = source if hasattr(source, "iloc") else source.to_pandas()  # of polars and Arrow
        return Table("the frame", frame, settings)
    path = require_file("load_csv", source)
    if path.suffix.lower() != ".parquet":
        require_pandas(f"'{path}'")
        return TextTable(path, settings, known)
    try:
        frame = require_pandas(f"'{path}'").read_parquet(path)
    except ImportError as error:
        text = f"files of Parquet need pyarrow, too: {HELP} pyarrow ({str(error).splitlines()[0]})"
        raise ImportError(f"[load_csv] '{path}': {text}") from None
    except ValueError as error:
        raise TableError(f"'{path}' cannot be read: {str(error).splitlines()[0]}") from None
    named = any(name is not None for name in frame.index.names)
    if named:
        frame = frame.reset_index()
    return Table(f"'{path}'", frame, settings)


def _text(path: Path, encoding: str | None) -> str:
    """The text of a file, without a byte order mark."""
    try:
        if path.suffix == ".gz":
            content = unpacked(path)
        else:
            content = path.read_bytes()
        begin = content[:BEGIN]
        other = next((text for form, text in OTHERS.items() if re.match(form, begin)), None)
        if encoding is None:
            not_text = other or recognised(begin, plain=False)
            if not_text:
                raise TableError(f"'{path}' {not_text}")
        text = content.decode(encoding or "utf-8").removeprefix("\ufeff")
        if "\0" in text:
            line = text.count("\n", 0, text.index("\0")) + 1
            text = f"'{path}' line {line} holds a NUL byte: the file is damaged, or in another encoding"
            raise TableError(text, ("encoding", "utf-16-le", "reads two bytes a letter"))
        return text
    except TableError:
        raise
    except LookupError:
        text = "expected a name such as utf-8, latin-1, cp1252"
        raise ValueError(f"[load_csv] got encoding {encoding!r}; {text}") from None
    except UnicodeError as error:
        marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        if marked:
            name = "utf-16"
        elif b"\x80" in content:
            name = "cp1252"
        else:
            name = "latin-1"
        text = f"'{path}' is no text in {(encoding or 'utf-8').upper()}: {getattr(error, 'reason', error)}"
        remedies = [] if encoding else [("encoding", name, "reads such files")]
        raise TableError(text, *remedies) from None
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise ValueError(f"[load_csv] '{path}' is damaged or cut off: {error}") from None
