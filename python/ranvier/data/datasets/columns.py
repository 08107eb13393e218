"""The columns of a table that pandas has read: numbers, dates, categories and missing values.

A cell that a person reads as a number and pandas as text, such as "(1.20)", "1.5D+00", "$5" or "1,234", is
an error: it must not silently become a category.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ranvier.data.datasets.dates import NO_DATE, date_remedies, days_since_1970, parsed_days
from ranvier.data.datasets.frames import Table
from ranvier.data.datasets.table_errors import Remedy, TableError, short
from ranvier.data.datasets.table_settings import COMMA, DATE, NUMBER, WORD, ZEROS, kind_of, number_of
from ranvier.tensors.memory import Array

if TYPE_CHECKING:
    from ranvier.tensors.types import DtypeLike

FEW = 8  # up to this many different words such as "2wd", a number with a unit, may be names
MOST = 100  # the most categories of a column; with more, each has to occur twice on average
EXACT = 2.0**53  # float64 represents all smaller whole numbers exactly
LARGEST = float(np.finfo(np.float64).max)

NUMERAL = re.compile(  # a number in a form that pandas does not read; a named group makes it a possible name
    r"""[='"`(]*  (?P<before>[~≈<>≤≥]=?\s?)?
    [-+(\u2212\u2013\ufe63\uff0d\uff0b]*  (?:[A-Z]{0,3}[€$£¥₹₽₩₺]\s?|[A-Z]{3}\s)?  [-+(\u2212\u2013]*
    (?: (?P<hex>0[xX][\dA-Fa-f]+) | \d+(?P<fraction>/[1-9]\d*) | \d?\.\d+[-+]\d{3}
      | (?: \d{1,3}(?:[,.'’_\s]\d{3})+(?:[.,]\d*)? | \d*[.,]?\d+[.,]? ) (?:[eEdDqQ][-+]?\d+)? )
    (?:\s?(?:±|\+/-|\+-)\s?[\d.]+)?
    \s?(?:[%‰€$£¥₹₽₩₺]|(?P<unit>(?:[°µμ]?[A-Za-zΩ]{1,3}|°)(?:[/^]?[A-Za-z\d²³]{1,3})?))?
    [)'"`*†\-]*""",
    re.VERBOSE,
)


def name_of(numeral: str) -> str | None:
    """For a number in a form that pandas does not read, the part that may make it a name, such as a unit.

    "" without such a part; None for a text that is no number.

    >>> name_of("2wd"), name_of("$5"), name_of("red")
    ('wd', '', None)
    """
    found = NUMERAL.fullmatch(numeral)
    if found is None:
        return None
    return next(filter(None, found.groups()), "")


class Column:
    """A column of a table, of numbers or of texts.

    Attributes:
        texts: the different texts of the cells.
        kinds: the kind of each text: NUMBER, COMMA, DATE or WORD.
        codes: for each row the index of its cell in `texts`, -1 without a value; None for a column of
            numbers, which has no texts.
        missing: for each row whether it has no value.
        counts: the number of cells of each kind.
        is_label: whether the column has the labels. is_date: whether its numbers are days.
        is_flag: whether all its cells are True or False.
    """

    def __init__(self, table: Table, at: int, cells: Array, missing: Array) -> None:
        """Column `at` of a table: its cells, numbers or objects, and which of them have no value."""
        self.table = table
        self.at = at
        self._cells = cells
        self.is_label = False
        self.title = table.name(at)
        self.is_date = self.is_flag = False
        self.left_out = ("without", [self.title], "leaves the column out")  # a remedy
        self.texts: list[str] = []
        self.codes: Any = None
        if cells.dtype.kind == "f":
            self.missing = missing
            self.counts = [int(np.count_nonzero(~missing)), 0, 0, 0]
            return
        numbered: dict[str, int] = {}
        texts = [str(cell).strip() for cell in cells.tolist()]
        gaps = missing | np.array([text.lower() in table.marks for text in texts], bool)
        pairs = zip(texts, gaps.tolist(), strict=True)
        codes = []
        for text, gap in pairs:
            code = -1 if gap else numbered.setdefault(text, len(numbered))
            codes.append(code)
        self.is_flag = {*map(type, cells[~missing].tolist())} == {bool}  # of a frame
        self.codes, self.texts, self.missing = np.array(codes, np.intp), list(numbered), gaps
        self.kinds = np.array([kind_of(text, self.table.settings) for text in self.texts], np.intp)
        self.counts = np.bincount(self.kinds[self.codes[~self.missing]], minlength=WORD + 1).tolist()

    @property
    def is_words(self) -> bool:
        """True if more than a tenth of the cells are words: a few words among numbers are mistakes."""
        *values, words = self.counts
        return words > 0 and sum(values) < 9 * words

    def of_kind(self, kind: int) -> tuple[int, str]:
        """The first row with a cell of this kind, and the cell."""
        row = int((~self.missing & (self.kinds[self.codes] == kind)).argmax())
        return row, self.texts[self.codes[row]]

    def numbers(self, limit: float = LARGEST, missing: bool = False) -> Array:
        """The cells as float64, finite and between -limit and limit; missing values are NaN if allowed."""
        values = self._cells
        if self.codes is not None:
            read = [number_of(text, self.table.settings) for text in self.texts]
            if self.is_flag:
                read = [float(text == "True") for text in self.texts]
            # None becomes NaN, and so does the code -1 of a missing cell, the last value
            values = np.array([*read, None], np.float64)[self.codes]
        wrong = ~(np.abs(values) <= limit) & ~(self.missing & missing)
        if wrong.any():
            self.refuse(int(wrong.argmax()), limit)
        if not self.is_label and (np.abs(values) >= EXACT).any():
            self._require_apart(values)
        return values

    def _require_apart(self, values: Array) -> None:
        """Raise TableError if different whole numbers, of too many digits, become equal in float64."""
        cells = self.table.frame(())[self.at].astype(str).str.strip()
        whole = (cells.str.lstrip("+-").str.isdigit() & (np.abs(values) >= EXACT)).to_numpy()
        if cells[whole].nunique() > len(np.unique(values[whole])):
            where, cell = self.table.cell(int(whole.argmax()), self.at)
            text = (
                f"{where} holds {short(cell)!r}, and float64 takes it for other whole numbers of the column"
            )
            words = ("categories", [self.title], "reads the numbers as categories")
            raise TableError(text, words, self.left_out)

    def require_exact(self, values: Array, dtype: DtypeLike | None) -> None:
        """Raise TableError if `dtype` changes whole numbers, or makes different values equal.

        Equal values are an error for dates, and for numbers whose range is small compared to their size. The
        last digits of others, such as random numbers with 17 digits, do not matter.
        """
        with np.errstate(over="ignore"):
            rounded = values.astype(dtype).astype(np.float64)
        changed = (rounded != values) & ~np.isnan(values)
        wrong = changed & (values == np.rint(values)) & (np.abs(values) < EXACT)
        if not wrong.any() and changed.any():
            known = values[~np.isnan(values)]
            close = self.is_date or np.ptp(known) < np.abs(known).max() / 256
            if close and len(np.unique(rounded[~np.isnan(values)])) < len(np.unique(known)):
                wrong = changed
        if wrong.any():
            where, cell = self.table.cell(int(wrong.argmax()), self.at)
            text = f"{where} holds {short(cell)!r}, and {np.dtype(dtype)} takes it for another value"
            raise TableError(text, ("dtype", "float64", "keeps the values apart"))

    def require_value(self) -> None:
        """Raise TableError for a column without a value."""
        if self.missing.all():
            text = f"is empty: none of its {len(self.missing)} cells has a value"
            raise TableError(f"{self.table.title} {self.table.column(self.at)} {text}", self.left_out)

    def refuse(self, row: int, limit: float = LARGEST) -> NoReturn:
        """Raise the error of a cell that is no number."""
        table, (where, cell) = self.table, self.table.cell(row, self.at)
        kind = kind_of(cell, table.settings)
        holds = f"{where} holds {short(cell)!r}"
        words: list[Remedy] = []
        without: list[Remedy] = []
        classes: list[Remedy] = [("task", "classification", "takes words as classes")]
        if not self.is_label:
            words = [("categories", [self.title], "reads words as categories")]
            without = [self.left_out]
            classes = words
        if self.missing[row]:
            text = f"{where} has a missing value ({cell!r}); fill it in"
            raise TableError(text, ("missing", "drop", "leaves the line out"))
        if kind == NUMBER and limit < abs(number_of(cell, table.settings) or 0) < np.inf:
            raise TableError(f"{holds}; expected at most {limit:.3g}, which float32 holds")
        if kind == DATE:
            as_days = ("parse_dates", [self.title], "reads days since 1970")
            if table.marks and not NO_DATE.fullmatch(cell):
                dates = [as_days, *date_remedies(cell)]
            else:
                dates = []
            text = f"{holds}, a date or time; expected a number"
            others = classes if self.is_label else without
            raise TableError(text, *dates, *others)
        if ZEROS.fullmatch(cell):
            codes = ("categories", [self.title], "reads codes as categories")
            raise TableError(f"{holds}, a code that begins with 0; expected a number", codes, *without)
        separator = table.settings["thousands"]
        if separator and separator in cell and name_of(cell) is not None:
            text = f"{holds}; expected groups of three digits between the separators {separator!r}"
            raise TableError(f"{text} of thousands", *without)
        if kind == COMMA or name_of(cell) is not None:
            text = "expected a plain number, without units and marks"
            thousands = ("thousands", ",", "leaves out separators of thousands")
            groups = re.search(r"\d,\d{3}(?!\d)", cell) and table.settings["decimal"] == "."
            comma = ("decimal", ",", "reads decimal commas")
            how = [thousands] * bool(groups) + [comma] * (kind == COMMA)
            raise TableError(f"{holds}; {text}", *how, *classes, *without)
        if row or table.names:
            first: list[Remedy] = []
        else:
            first = [("header", 0, "takes the first line as names")]
        mark: list[Remedy] = [("na_values", [cell], "reads it as a missing value")]
        read_as: list[Remedy] = classes if kind == WORD else words
        # a frame has no such setting
        if not table.marks:
            mark = []
        remedies = [*read_as, *mark] if self.is_words else [*mark, *read_as]
        raise TableError(f"{holds}; expected a finite number", *first, *remedies, *without)

    def categories(self, chosen: Any) -> tuple[str, ...] | None:
        """The categories; None for a column of numbers. chosen: the argument `categories` of `load_csv`."""
        if isinstance(chosen, Mapping):
            if chosen.get(self.title) is None:
                return None
            return tuple(chosen[self.title])
        code = next(filter(ZEROS.fullmatch, self.texts), None)
        if code is not None and chosen is False:
            self.refuse(int((self.codes == self.texts.index(code)).argmax()))
        named = code is not None or (not isinstance(chosen, bool) and self.title in chosen)
        if chosen is False or not (named or self.is_words):
            return None
        where = f"{self.table.title} {self.table.column(self.at)}"
        words = sorted(self.texts)
        numbers, commas, dates, others = self.counts
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
            text = f"[load_csv] {where} has {text}; na_values names words that mean a missing value"
            warnings.warn(text, stacklevel=6)
        self.warn_of_case(words)
        if len(words) > max(MOST, len(self.codes) // 2):
            text = f"expected categories: at most {MOST}, or half as many as lines"
            text = f"{where} has {len(words)} different words in {len(self.codes)} lines; {text}"
            raise TableError(text, ("without", [self.title], "leaves the column out"))
        return tuple(words)

    def warn_of_case(self, words: Collection[str]) -> None:
        """A warning if two words differ in upper and lower case only."""
        first: dict[str, str] = {}
        pairs = [(first.setdefault(word.casefold(), word), word) for word in words]
        different = [(a, b) for a, b in pairs if a != b]
        if not different:
            return
        a, b = different[0]
        where = self.table.column(self.at)
        words_are = "classes" if self.is_label else "categories"
        text = f"{a!r} and {b!r}, different {words_are} that differ in upper and lower case only"
        warnings.warn(f"[load_csv] {self.table.title} {where} has {text}", stacklevel=7)

    def refuse_forms(self, few: int = FEW) -> None:
        """Raise the error of the first word if nearly all are numbers in a form such as "$5" or "(1.20)"."""
        words = [text for text in self.texts if kind_of(text, self.table.settings) == WORD]
        found = {}
        for word in words:
            name = name_of(word)
            if name is not None:
                found[word] = name
        kinds = {*found.values()}
        names = "" not in kinds and (len(words) <= few or len(kinds) > 3)  # "2wd", "4wd"; "12A", "12B" ...
        if found and len(found) >= 0.9 * len(words) and not names:
            self.refuse(int((self.codes == self.texts.index(next(iter(found)))).argmax()))

    def numbered(self, categories: tuple[str, ...], missing: bool, unknown: bool) -> Array:
        """For each row the index of its category, NaN for a missing value, or -1 for an unknown one."""
        numbers = {name: float(number) for number, name in enumerate(categories)}
        values = np.array([*(numbers.get(text, -1.0) for text in self.texts), np.nan])[self.codes]
        new = list(dict.fromkeys(self.texts[code] for code in self.codes[values == -1]))
        if new and not unknown:
            where, cell = self.table.cell(int((values == -1).argmax()), self.at)
            shown = ", ".join(categories[:20])
            raise TableError(f"{where} holds {cell!r}; expected a known category: {shown}")
        if new:
            shown = ", ".join(map(repr, new[:5]))
            if len(new) > 5:
                shown += " ..."
            text = f"has unknown categories ({len(new)}), which count as missing: {shown}"
            warnings.warn(f"[load_csv] {self.table.title} {self.table.column(self.at)} {text}", stacklevel=6)
        if not missing and np.isnan(values).any():
            self.refuse(int(np.isnan(values).argmax()))
        return values


def columns_of(table: Table, wanted: Collection[int], texts: Collection[int]) -> dict[int, Column]:
    """The `wanted` columns of a table, by index: numbers and dates (as days) as float64, others as texts.

    texts: columns to read as texts in any case.
    """
    frame = table.frame(texts)
    kinds = [dtype.kind for dtype in frame.dtypes.to_list()]
    days = {at: days_since_1970(frame[at]) for at in wanted if kinds[at] in "mM"}
    named = {*wanted}.intersection(map(table.at, table.settings["parse_dates"]))
    days |= {at: parsed_days(table, at, frame[at]) for at in sorted(named)}
    numbers = [at for at in sorted(wanted) if kinds[at] in "iuf" and at not in days]
    others = [at for at in wanted if kinds[at] not in "iuf" and at not in days]
    columns = {at: Column(table, at, cells, np.isnan(cells)) for at, cells in days.items()}
    for column in columns.values():
        column.is_date = True
    part = frame if len(numbers) == frame.shape[1] else frame[numbers]
    values = part.to_numpy(np.float64, na_value=np.nan)  # at once: a column alone costs much
    missing = np.isnan(values)
    columns |= {at: Column(table, at, values[:, i], missing[:, i]) for i, at in enumerate(numbers)}
    cells, missing = frame[others].to_numpy(object), frame[others].isna().to_numpy()
    return columns | {at: Column(table, at, cells[:, i], missing[:, i]) for i, at in enumerate(others)}
