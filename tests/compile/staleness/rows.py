"""Scenarios as rows of text: (what makes `o`, what the step reads of it, how it changes).

Each text is an expression or a few statements, and becomes a function of its own; they share their variables.
They see `v` (the first value), `patch`, `small` (which is trained), and in the change `n` (1, 2, 3) and `new`
(the next value). What they name is in `parts*.py`, executed anew for each scenario: a row may change
its classes. A text that names `x` gets the step's input, and gives what is used in its place.
"""

import ast
import functools
import linecache
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from compile.staleness.judge import Case, add
from compile.staleness.small import Small

FOLDER = Path(__file__).parent
Row = tuple[str, ...]
RECORDS = "Settings", "Frozen", "Doubled", "Named"  # names of parts_records.py, or parts of them


def table(text: str, **names: str) -> dict[str, Row]:
    """Rows of `name | text | text ...`, which indented lines continue; `<NAME>` stands for a given text."""
    for name, value in names.items():
        text = text.replace(f"<{name}>", value)
    lines = text.strip("\n").replace("\n    ", " ").replace("\n  |", " |").splitlines()
    rows = [line.replace("\\n", "\n").split(" | ") for line in lines]
    return {name: tuple(texts) for name, *texts in rows}


def column(text: str, **names: str) -> dict[str, str]:
    """Rows of one text each."""
    return {name: one for name, (one,) in table(text, **names).items()}


def space(*more: str, text: str | None = None) -> dict[str, Any]:
    """The names of `parts.py`, `parts_objects.py` and more such files, made anew.

    text: what will be executed with them, if that is known.
    """
    made: dict[str, Any] = {"__name__": "staleness_parts"}
    records = ["parts_records.py"] if text is None or any(name in text for name in RECORDS) else []
    for name in ("parts.py", "parts_objects.py", *records, *more):
        exec(_parts(FOLDER / name), made)
    return made


@functools.cache
def _parts(file: Path) -> Any:
    return compile(file.read_text(), str(file), "exec")


def function(parameters: str, text: str, names: dict[str, Any] | None = None) -> Callable[..., Any]:
    """A function of one text."""
    return _made(f"def made({parameters}):\n{_body(text, 1)}", names)


def row(make: str, read: str, change: str, inputs: str = "default_inputs(n)", **names: Any) -> Any:
    """made(v, patch, small): what reads, what changes, what gives the inputs, and what gives `o`.

    read: with `=` it is an expression of the step itself.
    """
    given = f"o = {make}" if _is_expression(make) else make
    shared = sorted((_assigned(given) | {"v"}) & _assigned(change))
    taken = "x" if uses_x(read) else ""
    lines = [
        "def made(v, patch, small, compile_step=None):",
        textwrap.indent(given, "    "),
        *([f"    read {read}"] if read[0] == "=" else [f"    def read({taken}):", _body(read, 2)]),
        "    def change(n, new):",
        *([f"        nonlocal {', '.join(shared)}"] if shared else []),
        _body(change, 2),
        f"    return read, change, lambda n: {inputs}, lambda: {'o' if 'o' in _assigned(given) else None}",
    ]
    return _made("\n".join(lines), names or None)


def _made(source: str, names: dict[str, Any] | None) -> Callable[..., Any]:
    names = space(text=source) if names is None else names
    exec(_compiled(source), names)
    return names.pop("made")


@functools.cache
def _compiled(source: str) -> Any:
    file = str(FOLDER / f"row_{abs(hash(source))}")
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    return compile(source, file, "exec")


def _is_expression(text: str) -> bool:
    try:
        ast.parse(text, mode="eval")
    except SyntaxError:
        return False
    return True


def _body(text: str, depth: int) -> str:
    return textwrap.indent(f"return {text}" if _is_expression(text) else text, "    " * depth)


def _assigned(text: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(text)))
    made = {n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    return made | {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}


def uses_x(text: str) -> bool:
    return text[0] != "=" and any(isinstance(n, ast.Name) and n.id == "x" for n in ast.walk(ast.parse(text)))


def reads(
    texts: Row, values: Any = (1.0, 2.0, 3.0, 4.0), use: Any = None, **more: Any
) -> Callable[..., Case]:
    """A scenario of one row; use: makes a number of what is read. A row without a change has two texts."""

    def build(patch: Any) -> Case:
        make, read, change = texts if len(texts) == 3 else (*texts, "pass")
        small = Small()
        got, put, *_ = row(make, read, change)(values[0], patch, small)
        changes = (lambda n: put(n, values[n])) if len(texts) == 3 else None
        if uses_x(read):
            return Case(lambda x: small.train(got(x), 1.5), changes, small.watch, **more)
        if use is None:
            return Case(lambda x: small.train(x, got()), changes, small.watch, **more)
        return Case(lambda x: small.train(x, use(got())), changes, small.watch, **more)

    return build


def add_rows(group: str, table: dict[str, Row], neutral: Iterable[str] = (), **more: Any) -> None:
    for name, texts in table.items():
        prefix = group if group.endswith("_") else f"{group}/"
        add(prefix + name, reads(texts, **more), name in neutral)


def steps(*texts: str, **more: Any) -> Callable[..., Case]:
    """A scenario of a row with a whole step, which returns its result."""
    return lambda patch: compiled_steps(*texts, **more)(patch, None)


def compiled_steps(make: str, step: str, change: str = "-", *inputs: str, **more: Any) -> Callable[..., Case]:
    """The same of a row that compiles what it needs with `compile_step`; `-`: without a change."""

    def build(patch: Any, compile_step: Any) -> Case:
        small = Small()
        made = row(make, step, "pass" if change == "-" else change, *inputs)
        call, put, given, look = made(1.0, patch, small, compile_step)
        changes = None if change == "-" else lambda n: put(n, 1.0 + n)
        return Case(call, changes, lambda: [*small.watch, look()], given, **more)

    return build


def add_steps(group: str, table: dict[str, Row], **more: Any) -> None:
    for name, texts in table.items():
        add(f"{group}/{name}", steps(*texts, **more))
