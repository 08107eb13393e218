"""The columns of a table that pandas has parsed: numbers, categories and missing values.

A cell that is a number for a reader and none for a program, as "(1.20)", "1.5D+00", "$5" and "1,234" are, is
refused with the number in the error.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ranvier.data.datasets.text_table import COMMA, DATE, GAP, NUMBER, WORD, TableError, TextTable, short
from ranvier.tensors.memory import Array

WITH_UNIT = re.compile(r"[-+]?[€$£]? ?[-+]?[\d.,]*\d[\d.,' ]*[%€$£]?")  # "$5", "12 %", "1,234,567", "1,5"
FEW = 8  # different words may be names even if they are numbers with units
MOST = 100  # categories of a column; of more, each has to occur twice on average
EXACT = 2.0**53  # float64 represents all smaller whole numbers exactly
LARGEST = float(np.finfo(np.float64).max)


_SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "\ufe63": "-", "\uff0d": "-", "\uff0b": "+"})
_GAPS = "\u00a0\u202f\u2009'\u2019_ "  # separators of thousands beside the comma and the point
_CURRENCY = "€$£¥₹₽₩₺"
# What else follows from a form: the number is negative; the words may as well be names, as "2wd" is.
_NEGATIVE, _NAMES = "negative", "names"
# The forms of numbers that people write and programs do not read, one after another: (pattern of the whole
# text, its description, the text that is left without it, _NEGATIVE or _NAMES or ""). The description and
# the text that is left refer to groups of the pattern. Each form is looked for in what the last has left.
_STEPS = [
    (re.compile(form, re.DOTALL), kind, rest, says)
    for form, kind, rest, says in (
        (r"([-+]?[\d.]+)\s?(?:±|\+/-|\+-)\s?[\d.]+", "with its error", r"\1", ""),
        (r"([-+]?\d?\.\d+)([-+]\d{3})", "with an exponent of Fortran", r"\1E\2", ""),
        (rf"(?=[({_CURRENCY}])([^()]*)\(([^()]+)\)([^()]*)(?<=[){_CURRENCY}%])",
         "in parentheses", r"\1\2\3", _NEGATIVE),
        (r"(\S*\d)-", "with its sign behind it", r"\1", _NEGATIVE),
        (r"(.*\d)[*†]", "with a mark", r"\1", ""),
        (r"([~≈<>≤≥]=?)\s?([-+.,\d].*)", r"with \1 before it", r"\2", _NAMES),
        (r"([-+]?(?:\d+\.?\d*|\.\d+))[dDqQ]([-+]?\d+)", "with an exponent of Fortran", r"\1E\2", ""),
        (rf"([-+]?)(?:([A-Z]{{0,3}}[{_CURRENCY}])|([A-Z]{{3}}) )\s?([-+.,\d].*)",
         r"with the unit \2\3", r"\1\4", ""),
    )
]  # fmt: skip
_AFTER = re.compile(rf"(?<=[\d.,])\s?([%‰{_CURRENCY}])$")
_UNIT = re.compile(r"(?<=[\d.,])\s?((?:[°µμ]?[A-Za-zΩ]{1,3}|°)(?:[/^]?[A-Za-z\d²³]{1,3})?)$")


class Column:
    """A column of a table, of numbers or of texts.

    Attributes:
        codes: for each row the number of its text in `texts`, whose `kinds` those of text_table are; None for
            numbers.
        missing: for each row whether the cell is empty or a mark of missing values.
        counts: how many cells are of each kind.
    """

    def __init__(self, table: TextTable, at: int, cells: Array, frame: Any = None) -> None:
        """Column `at` of a table: its cells as float64 or texts; frame: of pandas, with exact integers."""
        self.table, self.at, self._cells, self._frame, self.is_label = table, at, cells, frame, False
        self.texts: list[str] = []
        self.title = table.name(at)
        self.left_out = ("without", [self.title], "leaves the column out")  # a remedy
        self.codes: Any = None
        self.missing: npt.NDArray[np.bool_]
        if cells.dtype.kind == "f":
            self.missing = np.isnan(cells)
            empty = int(np.count_nonzero(self.missing))
            self.counts = [empty, len(cells) - empty, 0, 0, 0]
        else:
            first: dict[str, int] = {}
            codes = [first.setdefault(str(cell).strip(), len(first)) for cell in cells.tolist()]
            self.codes, self.texts = np.array(codes, np.intp), list(first)
            self.kinds = np.array([table.kind(text) for text in self.texts])
            self.missing = (self.kinds == GAP)[self.codes]
            self.counts = np.bincount(self.kinds[self.codes], minlength=WORD + 1).tolist()

    @property
    def is_words(self) -> bool:
        """True if more than a tenth of the cells are words: a few words among numbers are mistakes."""
        _, *values, words = self.counts
        return words > 0 and sum(values) < 9 * words

    def of_kind(self, kind: int) -> tuple[int, str]:
        """The first row with a cell of this kind, and the cell."""
        row = int((self.kinds[self.codes] == kind).argmax())
        return row, self.texts[self.codes[row]]

    def numbers(self, limit: float = LARGEST, missing: bool = False) -> Array:
        """The cells as float64, finite and between -limit and limit; missing values are NaN if allowed."""
        if self.codes is None:
            values = self._cells
        else:
            pairs = zip(map(self.table.point, self.texts), self.kinds, strict=True)
            values = np.array([float(text) if kind == NUMBER else np.nan for text, kind in pairs])[self.codes]
        wrong = ~(np.abs(values) <= limit) & ~(self.missing & missing)
        if wrong.any():
            self.refuse(int(wrong.argmax()), limit)
        if not self.is_label and (np.abs(values) >= EXACT).any():
            self._require_apart(values)
        return values

    def _require_apart(self, values: Array) -> None:
        """Raise TableError if whole numbers of too many digits become equal in float64."""
        cells = self._frame[self.at].astype(str).str.strip()
        whole = (cells.str.lstrip("+-").str.isdigit() & (np.abs(values) >= EXACT)).to_numpy()
        if cells[whole].nunique() > len(np.unique(values[whole])):
            where, cell = self.table.cell(int(whole.argmax()), self.at)
            text = (
                f"{where} holds {short(cell)!r}, and float64 takes it for other whole numbers of the column"
            )
            words = ("categories", [self.title], "reads the numbers as categories")
            raise TableError(text, words, self.left_out)

    def require_value(self) -> None:
        """Raise TableError for a column without a value."""
        if self.missing.all():
            where, count = self.table.column(self.at), len(self.missing)
            text = f"'{self.table.path}' {where} is empty: none of its {count} cells has a value"
            raise TableError(text, self.left_out)

    def refuse(self, row: int, limit: float = LARGEST) -> NoReturn:
        """Raise the error of a cell that is no number."""
        table, (where, cell) = self.table, self.table.cell(row, self.at)
        kind, holds = table.kind(cell), f"{where} holds {short(cell)!r}"
        without = [] if self.is_label else [self.left_out]
        words = [] if self.is_label else [("categories", [self.title], "reads words as categories")]
        classes = [("task", "classification", "takes words as classes")] if self.is_label else words
        if kind == GAP:
            text = f"{where} has a missing value ({cell!r}); fill it in"
            raise TableError(text, ("missing", "drop", "leaves the line out"))
        if kind == NUMBER and limit < abs(float(table.point(cell))) < np.inf:
            raise TableError(f"{holds}; expected at most {limit:.3g}, which float32 holds")
        if kind == DATE:
            text = "expected a number: replace it by numbers such as year, month or days since a day"
            raise TableError(f"{holds}, a date or time; {text}", *(classes if self.is_label else without))
        form = number_form(cell, table.decimal)
        comma = [("decimal", ",", "reads decimal commas")] * (kind == COMMA)
        if form or WITH_UNIT.fullmatch(cell):
            point = "point" if table.decimal == "." else "comma"
            text = f"expected a number with a decimal {point} (the cells are {table.separated}),"
            text += " without units and separators of thousands"
            if form:
                plain = form[1].replace(".", table.decimal)
                raise TableError(f"{holds}, {form[0]}; {text}: {plain}", *comma, *classes, *without)
            raise TableError(f"{holds}; {text}", *comma)
        first = [] if row or table.names else [("header", True, "takes the first line as names")]
        mark = ("missing_marks", [cell], "reads it as a missing value")
        read_as = classes if kind == WORD else words
        raise TableError(f"{holds}; expected a finite number", *first, mark, *read_as, *without)

    def categories(self, chosen: Any) -> tuple[str, ...] | None:
        """The categories; None for a column of numbers. chosen: as of `load_csv`."""
        if isinstance(chosen, Mapping):
            return None if chosen.get(self.title) is None else tuple(chosen[self.title])
        named = not isinstance(chosen, bool) and self.title in chosen
        if chosen is False or not (named or self.is_words):
            return None
        where = f"'{self.table.path}' {self.table.column(self.at)}"
        words = sorted(text for text, kind in zip(self.texts, self.kinds, strict=True) if kind != GAP)
        _, numbers, commas, dates, others = self.counts
        if not named and dates > others:
            self.refuse(self.of_kind(DATE)[0])
        if not named:
            self.refuse_forms()
        if not named and numbers + commas > others:
            row, word = self.of_kind(WORD)
            if len(words) > FEW + (self.kinds == WORD).sum():  # the numbers are no names
                self.refuse(row)
            text = (
                f"{numbers + commas} numbers and {others} words, such as {word!r}: all are read as categories"
            )
            text = f"[load_csv] {where} has {text}; missing_marks names words that mean a missing value"
            warnings.warn(text, stacklevel=5)
        self.warn_of_case(words)
        if len(words) > max(MOST, len(self.codes) // 2):
            text = f"expected categories: at most {MOST}, or half as many as lines"
            text = f"{where} has {len(words)} different words in {len(self.codes)} lines; {text}"
            raise TableError(text, ("without", [self.title], "leaves a column of names or texts out"))
        return tuple(words)

    def warn_of_case(self, words: Collection[str]) -> None:
        """A warning if two words differ in upper and lower case only."""
        first: dict[str, str] = {}
        pairs = [(first.setdefault(word.casefold(), word), word) for word in words]
        if pair := next(((a, b) for a, b in pairs if a != b), None):
            where, kind = self.table.column(self.at), "classes" if self.is_label else "categories"
            text = f"{pair[0]!r} and {pair[1]!r}, different {kind} that differ in upper and lower case only"
            warnings.warn(f"[load_csv] '{self.table.path}' {where} has {text}", stacklevel=6)

    def refuse_forms(self, few: int = FEW) -> None:
        """Raise the error of the first word if nearly all are numbers in a form such as "$5" or "(1.20)"."""
        words = [text for text in self.texts if self.table.kind(text) == WORD]
        forms = {word: number_form(word, self.table.decimal) for word in words}
        found = {word: form for word, form in forms.items() if form or WITH_UNIT.fullmatch(word)}
        units = {form[0] for form in found.values() if form and form[2]}
        names = all(form and form[2] for form in found.values())  # "2wd", "4wd"; "12A", "12B" ...
        names = names and (len(words) <= few or len(units) > 3)
        if found and len(found) >= 0.9 * len(words) and not names:
            self.refuse(int(np.isin(self.codes, [self.texts.index(next(iter(found)))]).argmax()))

    def numbered(self, categories: tuple[str, ...], missing: bool, unknown: bool) -> Array:
        """For each row the number of its category, NaN for a missing value, or -1."""
        numbers = {name: float(number) for number, name in enumerate(categories)}
        pairs = zip(self.texts, self.kinds, strict=True)
        each = [numbers.get(text, np.nan if kind == GAP else -1.0) for text, kind in pairs]
        values = np.array(each)[self.codes]
        new = list(dict.fromkeys(self.texts[code] for code in self.codes[values == -1]))
        if new and not unknown:
            where, cell = self.table.cell(int((values == -1).argmax()), self.at)
            shown = ", ".join(categories[:20])
            raise TableError(f"{where} holds {cell!r}; expected a known category: {shown}")
        if new:
            shown = ", ".join(map(repr, new[:5])) + (" ..." if len(new) > 5 else "")
            text = f"has unknown categories ({len(new)}), which count as missing: {shown}"
            warnings.warn(f"[load_csv] '{self.table.path}' {self.table.column(self.at)} {text}", stacklevel=5)
        if not missing and np.isnan(values).any():
            self.refuse(int(np.isnan(values).argmax()))
        return values


def columns_of(table: TextTable, wanted: Collection[int], texts: Collection[int]) -> dict[int, Column]:
    """Some columns of a table; those of `texts`, and those that hold anything but numbers, as texts."""
    frame, width = table.parse(), table.width
    more = frame.shape[1] > width and frame[width].notna().any()
    if more or frame.shape[1] < width or frame[width - 1].isna().any():
        table.require_width()  # pandas fills the ends of short lines
    kinds = frame.dtypes.to_list()
    numbers = [at for at in wanted if at not in texts and kinds[at].kind in "iuf"]
    chosen = sorted({*wanted}.difference(numbers))
    words = table.parse(usecols=chosen, dtype=str, na_filter=False) if chosen else frame.iloc[:, :0]
    part = frame if len(numbers) == frame.shape[1] else frame.iloc[:, numbers]
    values, cells = part.to_numpy(np.float64), words.to_numpy(object)  # at once: a column alone costs much
    columns = {at: Column(table, at, values[:, i], frame) for i, at in enumerate(numbers)}
    return columns | {at: Column(table, at, cells[:, i], words) for i, at in enumerate(chosen)}


def number_form(cell: str, decimal: str = ".") -> tuple[str, str, bool] | None:
    """The form of a cell in words, its plain number, and True if words of this form may be names; or None.

    >>> number_form("(1,234.50)")
    ('a negative number in parentheses with separators of thousands', '-1234.50', False)
    >>> number_form("2wd"), number_form("red")
    (('a number with the unit wd', '2', True), None)
    """
    # `text` is what is left of the cell, `forms` describes what was taken from it, and the number remains.
    text, forms, says = cell, list[str](), set[str]()

    def taken(kind: str, rest: str) -> None:
        nonlocal text
        text = rest.strip()
        forms.append(kind)

    if re.fullmatch(r"=?([\"'`]).*\1|'.*", text):
        taken("in quotes", text.lstrip("=").strip("\"'`"))
    if text.translate(_SIGNS) != text:
        taken("with another sign than '-'", text.translate(_SIGNS))
    if re.fullmatch("0[xX][0-9A-Fa-f]+", text):
        return "a number in hexadecimal form", str(int(text, 16)), True
    if (found := re.fullmatch(r"([-+]?\d+)/([1-9]\d*)", text)) and len(text) < 16:
        return "a fraction", f"{int(found[1]) / int(found[2]):g}", True
    for form, kind, rest, besides in _STEPS:
        if found := form.fullmatch(text):
            taken(found.expand(kind), found.expand(rest))
            says.add(besides)
    if found := _AFTER.search(text):
        taken(f"with the unit {found[1]}", text[: found.start()])
    elif not forms and (found := _UNIT.search(text)) and not re.fullmatch(r"[-+]?[\d.]+[eE]\d*", text):
        says.add(_NAMES)
        taken(f"with the unit {found[1]}", text[: found.start()])
    elif found := re.search(r"(?<=[\d.,])\s?([kKmMbB]n?)$", text):
        taken(f"with the unit {found[1]}", text[: found.start()])
    marks = _GAPS + (",." if decimal == "." else ".")
    if found := re.fullmatch(rf"([-+]?\d{{1,3}}(?:([{marks}])\d{{3}})(?:\2\d{{3}})*)((?:[.,]\d*)?)", text):
        whole, mark, rest = found[1], found[2], found[3]
        if rest[:1] != mark and (mark != "." or rest or whole.count(".") > 1):
            taken("with separators of thousands", whole.replace(mark, "") + rest.replace(",", "."))
    elif forms and text.count(",") == 1 and "." not in text:
        taken("with a decimal comma", text.replace(",", "."))
    if not forms or not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text):
        return None
    if _NEGATIVE in says:
        return (
            f"a negative number {' '.join(forms)}",
            f"-{text.lstrip('-')}",
            _NAMES in says and "." not in text,
        )
    return f"a number {' '.join(forms)}", text, _NAMES in says and "." not in text
