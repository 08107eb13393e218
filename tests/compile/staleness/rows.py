"""Scenarios as rows of text (see `tables`); the texts become one function, whose parts share their variables.

    make    what the step depends on, as statements or the value of `o`
    read    what the step reads: the factor of a small training step or, if it names `x`, its input; with `=`
            it is the step itself
    use     what is made of the value `v` that is read
    change  what changes after some calls: `n` is 1, 2, 3, `new` the next value; `=`: what is read gets `new`
    inputs, watch, each     see Case
    flags   words: `neutral` the change has no effect, `raises` the eager step raises, `once` a single call,
            `released` the caller keeps no results, `within` the step itself makes the changes, `whole` the
            step is what is read

A text may name another: `<layer>`. They see the first value as `v`, `patch`, `small` (which is trained) and
all of `names.py`, which is executed anew for each scenario, so that a row may change its classes. A `!` in
front says that the step runs eagerly by design; `!argument,keyword!` says this of some variants.

The row `globals().update(G=v) | globals().update(G=new) -> G` with the columns `make | change -> read` and
the values `2.0, 3.0` becomes about this, of which the last line makes a Case:

    v, o = 2.0, globals().update(G=v)
    def read(): return G
    def change(n, new): globals().update(G=new)
    return lambda x: small.train(x, read()), change, lambda: small.watch, lambda n: default_inputs(n), None
"""

import ast
import functools
import importlib
import linecache
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compile.staleness.judge import SCENARIOS, Case, Scenario
from compile.staleness.small import Small

FOLDER = Path(__file__).parent
RECORDS = (  # names of records.py, or parts of them
    "Settings", "Frozen", "Named", "record_with", "Color", "Level.", "Rate", "Bits", "Output",
    "Late(", "Given(", "Closed(", "Doubled(", "Row(", "Bag(",
)  # fmt: skip
DEFAULTS = {
    "values": "1.0, 2.0, 3.0, 4.0",
    "make": "None",
    "read": "1.5",
    "change": "-",
    "use": "",
    "inputs": "default_inputs(n)",
    "watch": "small.watch",
    "each": "",
    "step": "",
    "flags": "",
    "takes": "",  # parameters of read
    "more": "",  # further statements, after those of read
}


def table(text: str, **names: str) -> dict[str, tuple[str, ...]]:
    """Rows of `name | text | text ...`, which indented lines continue; `<NAME>` stands for a given text."""
    for name, value in names.items():
        text = text.replace(f"<{name}>", value)
    lines = text.strip("\n").replace("\n    ", " ").replace("\n  |", " |").splitlines()
    rows = [line.replace("\\n", "\n").split(" | ") for line in lines]
    return {name: tuple(texts) for name, *texts in rows}


def space(text: str | None = None) -> dict[str, Any]:
    """What rows may name, made anew. text: what will be executed with it, if that is known."""
    made: dict[str, Any] = {"__name__": "staleness_names", **_modules(text or "")}
    records = ["records.py"] if text is None or any(name in text for name in RECORDS) else []
    for name in ("names.py", "classes.py", *records):
        exec(_source(FOLDER / name), made)
    return made


@functools.cache
def _modules(text: str) -> dict[str, Any]:
    """The modules of the standard library that a text names."""
    return {name: importlib.import_module(name) for name in _names(text) & sys.stdlib_module_names}


@functools.cache
def _source(file: Path) -> Any:
    return compile(file.read_text(), str(file), "exec")


def function(parameters: str, text: str, names: dict[str, Any] | None = None) -> Callable[..., Any]:
    """A function of one text."""
    return _made(f"def made({parameters}):\n{_body(text, 1)}", names)


def _made(source: str, names: dict[str, Any] | None = None) -> Callable[..., Any]:
    names = space(source) if names is None else names
    exec(_compiled(source), names)
    return names.pop("made")


@functools.cache
def _compiled(source: str) -> Any:
    file = str(FOLDER / f"row_{abs(hash(source))}")
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    return compile(source, file, "exec")


def _add(row: tuple[str, str, str, str], texts: dict[str, str], eager: bool) -> None:
    group, head, one, variant = row
    name = f"{group}/{one} -- {head}" + (f" -- {variant}" if variant else "")
    assert name not in SCENARIOS, name
    texts = {key: text or DEFAULTS.get(key, "") for key, text in texts.items()}
    for _ in range(2):  # a text that is put into another may name a third
        for key, text in texts.items():
            for other in texts:
                if f"<{other}>" in text:
                    text = text.replace(f"<{other}>", texts[other])
            texts[key] = text
    flags = texts["flags"].split()
    SCENARIOS[name] = Scenario(
        name,
        functools.partial(_case, texts, flags),
        "neutral" in flags,
        eager,
        texts["change"] != "-",
        1 if "once" in flags else None,
    )


def _case(
    texts: dict[str, str], flags: list[str], patch: Any, compile_step: Any, compiled: bool, changed: bool
) -> Case:
    source = _function_of(tuple(texts.items()))
    step, change, watch, inputs, each = _made(source)(patch, Small(), compile_step, compiled, changed)
    if not {"compile_step", "compiled"} & _names(source.partition("\n")[2]):
        step = compile_step(step)
    itself = "within" in flags or texts["change"] == "-"
    return Case(
        step, None if itself else change, watch, inputs, each, "released" not in flags, "raises" in flags
    )


@functools.cache
def _function_of(items: tuple[tuple[str, str], ...]) -> str:
    """The source of made(...): what `_case` needs."""
    t = dict(items)
    make, read = t["make"], t["read"]
    first, _, rest = make.partition("; ")  # of an expression and statements the first is the value of `o`
    given = (
        f"o = {make}" if _is_expression(make) else f"o = {make}" if rest and _is_expression(first) else make
    )
    change = {"-": "pass", "=": f"{read} = new"}.get(t["change"], t["change"])
    shared = sorted((_assigned(given) | {"v"}) & _assigned(change))
    by_input, x = "x" in _names(t["use"]), "x" in _names(read)
    value = "use(x, read())" if by_input else "use(read())" if t["use"] else "read(x)" if x else "read()"
    takes = t["takes"] or "x" * (x or "whole" in t["flags"])
    of_small = (
        f"lambda x: small.train({value}, 1.5)" if by_input or x else f"lambda x: small.train(x, {value})"
    )
    step = t["step"] or ("read" if read[0] == "=" or "whole" in t["flags"] else of_small)
    parts = [
        "def made(patch, small, compile_step, compiled, changed):",
        f"    _values = ({t['values']})",
        "    v, o = _values[0], None",
        *([f"    def use({'x, ' * by_input}v):", _body(t["use"], 2)] if t["use"] else []),
        textwrap.indent(given, "    "),
        *([f"    read {read}"] if read[0] == "=" else [f"    def read({takes}):", _body(read, 2)]),
        "    def change(n, new):",
        *([f"        nonlocal {', '.join(shared)}"] if shared else []),
        _body(change, 2),
        "    put = lambda n: changed and change(n, _values[n % len(_values)])",
        *([textwrap.indent(t["more"], "    ")] if t["more"] else []),
        f"    each = {('lambda n, result: ' + t['each']) if t['each'] else None}",
        f"    return {step}, put, lambda: {t['watch']}, lambda n: ({t['inputs']}), each",
    ]
    return "\n".join(parts)


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


@functools.cache
def _names(text: str) -> set[str]:
    """The names that a text loads; none of a step that is an expression."""
    if text.startswith("="):
        return set()
    return {n.id for n in ast.walk(ast.parse(textwrap.dedent(text))) if isinstance(n, ast.Name)}


def texts(**given: str) -> dict[str, str]:
    """Texts of a variant, by what they are."""
    return given


# In a training step, and in a module that is called without gradients: it is replayed by itself.
OF_LAYER = texts(takes="x=None", more="m = Own(lambda x: x * read(x))", watch="m")
TWICE = {"": {}, "alone": OF_LAYER | texts(step="compile_step(m, alone=True)")}


def tables(text: str, **sets: dict[str, dict[str, str]]) -> None:
    """Adds the scenarios of tables of text, each with a heading `== group: column | column -> last @ SET`.

    A row is `text | text -> last; last`, and indented lines continue it: a scenario for each `last`, which
    names it, and each variant in the set. `. name: text` is the same for all rows, `..` continues it, and
    `% NAME` is followed by texts that `<NAME>` stands for.
    """
    for part in re.split(r"^== ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        match = re.fullmatch(r"(\w+): (.+?) -> (\w+)(?: @ (\w+))?", heading)
        assert match, heading
        group, columns, last, name = match.groups()
        same, lines = _read(body)
        for head, of_all, ones in blocks("\n".join(lines)):
            cells = dict(zip(columns.split(" | "), [cell.strip() for cell in head.split(" |")], strict=True))
            for one, mark, some in ones:
                given = {key: value.replace("\\n", "\n") for key, value in {**cells, last: one}.items()}
                for variant, more in sets[name].items() if name else [("", {})]:
                    flags = f"{same.get('flags', '')} {more.get('flags', '')}"
                    # a fit of few steps may not reach the recording that would warn
                    plain = "" in some and "within" in flags
                    eager = of_all or (mark and (not some or variant in some or plain))
                    all_texts = {**DEFAULTS, **same, **given, **more, "flags": flags}
                    _add((group, head, one, variant), all_texts, eager)


def _read(body: str) -> tuple[dict[str, str], list[str]]:
    """What is the same for all rows of a table, and the lines of the rows."""
    same: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    rows: list[str] = []
    key = ""
    for line in body.splitlines():
        if line.startswith(". "):
            key, _, same[key] = line[2:].partition(": ")
        elif line.startswith(".. "):
            same[key] += "\n" + line[3:]
        elif line.startswith("% "):
            lists[key := line[2:]] = []
        elif line.startswith("    ") and not rows and key in lists:
            lists[key].append(line.strip())
        elif line and not line.startswith("# "):
            rows.append(line)
    for name, ones in lists.items():
        rows = [row.replace(f"<{name}>", "; ".join(ones)) for row in rows]
    return same, rows


def blocks(text: str) -> list[tuple[str, bool, list[tuple[str, bool, list[str]]]]]:
    """(the columns, whether they have a mark, the texts with their marks) for each line of a table."""
    text = (
        text.strip("\n")
        .replace("\\n\n    ", "\\n")
        .replace("|\n    ", "| ")
        .replace("->\n    ", "-> ")
        .replace("\n    ", "; ")
    )
    found = []
    for line in text.splitlines():
        head, _, texts = line.partition("-> ")
        head, of_all, _ = marked(head.strip())
        found.append((head, of_all, [marked(one) for one in texts.split("; ")]))
    return found


def marked(text: str) -> tuple[str, bool, list[str]]:
    """(the text without its mark, whether it has one, the variants that it is for)."""
    match = re.fullmatch(r"!(?:([a-z_,]*)!)?(.*)", text, re.DOTALL)
    if match is None:
        return text, False, []
    return match[2], True, [] if match[1] is None else match[1].split(",")
