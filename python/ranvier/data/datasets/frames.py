"""Table: a frame of pandas, given by a program or read from a Parquet file, with what errors need."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from numbers import Number
from typing import Any

import numpy as np

from ranvier.data.datasets.table_errors import Remedy, TableError
from ranvier.data.datasets.table_settings import DEFAULTS
from ranvier.extension import optional

HELP = "pip install 'ranvier[tables]'"


def require_pandas(what: str) -> Any:
    """pandas, which is imported at the first table."""
    return optional("pandas", f"[load_csv] {what}: tables need pandas: {HELP}")


class Table:
    """A frame of pandas, given by a program or read from a Parquet file; TextTable is that of a text file.

    Attributes:
        title: its name in errors.
        names: the names of the columns; None for a text file without a header.
        width: the number of columns.
        marks: the texts that mean a missing value, in lower case.
    """

    def __init__(self, title: str, frame: Any, settings: dict[str, Any]) -> None:
        if settings:
            text = f"got {next(iter(settings))} for {title}; expected it for a text file only"
            raise ValueError(f"[load_csv] {text}: it has no effect on a frame")
        self.title = title
        self._frame = frame
        self.names: list[str] | None = [str(name) for name in frame.columns]
        self.width = len(self.names)
        if not self.names:
            raise ValueError(f"[load_csv] {title} has no columns; expected at least one")
        self.settings: dict[str, Any] = dict(DEFAULTS)
        self.marks: frozenset[str] = frozenset()

    def at(self, label: str | int) -> int:
        """The index of the column with this name or number, which may be negative."""
        names = self.names or list(map(str, range(self.width)))
        if isinstance(label, bool) or not isinstance(label, (str, int, np.integer)):
            raise TypeError(f"[load_csv] got label {label!r}; expected a column's name or number, or None")
        if not isinstance(label, str):
            if not -self.width <= label < self.width:
                raise ValueError(f"[load_csv] got label {label} for {self.width} columns in {self.title}")
            return int(label) % self.width
        if names.count(label) > 1:
            text = f"{self.title} has more than one column '{label}'; expected one, or its number"
            raise ValueError(f"[load_csv] {text}")
        if label not in names:
            if self.names:
                columns = ", ".join(self.names)
            else:
                columns = "none: the file has no header"
            near = difflib.get_close_matches(label, names, 1)
            meant = f"; did you mean '{near[0]}'?" if near else ""
            text = f"{self.title} has no column '{label}'; its columns are {columns}{meant}"
            remedies = self.other_separator() if self.width == 1 else []
            raise TableError(text, *remedies)
        return names.index(label)

    def other_separator(self) -> list[Remedy]:
        """The remedy for lines that are not, or wrongly, divided into cells."""
        return []

    def column(self, at: int) -> str:
        if self.names:
            return f"column {self.name(at)!r}"
        return f"column {at}"

    def name(self, at: int) -> str:
        if self.names:
            return self.names[at]
        return str(at)

    def cell(self, row: int, at: int) -> tuple[str, str]:
        """The place of a cell, as text, and its content."""
        return f"{self.title} row {row}, {self.column(at)}", str(self._frame.iloc[row, at])

    def frame(self, texts: Collection[int]) -> Any:
        """The frame with column numbers as names; columns of `texts` are objects, unless floats or dates."""
        frame = self._frame.set_axis(range(self.width), axis=1)
        if not len(frame):
            raise ValueError(f"[load_csv] {self.title} has no samples; expected at least one")
        kinds = [dtype.kind for dtype in frame.dtypes.to_list()]
        for at in (at for at, kind in enumerate(kinds) if kind == "O"):
            first = next(iter(frame[at].dropna()), "")
            if not (isinstance(first, (str, Number, np.generic)) or hasattr(first, "isoformat")):
                text = f"{self.title} {self.column(at)} holds {type(first).__name__}, such as '{first!s:.40}'"
                text += "; expected a number or a text in each cell: of lists, a column for each entry"
                raise TableError(text, ("without", [self.name(at)], "leaves the column out"))
        return frame.astype({at: object for at in texts if kinds[at] not in "fmM"})
