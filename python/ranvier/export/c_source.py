"""Writes the text of the exported files: the header, and the source with helpers, arrays and functions.

A helper is a C function that instructions call. Helpers are in `kernels/*.c`, each below a comment that
begins in the first column, and in `elementwise.HELPERS`. A file contains only those that its functions use.
"""

from __future__ import annotations

import functools
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

import ranvier.export.elementwise as elementwise
from ranvier.export.file_arrays import FileArrays, identifier
from ranvier.export.instructions import CArray, Instruction, Routine, Value, literal

_WIDTH = 110  # columns of a line of C


def _helpers() -> dict[str, str]:
    """The helpers of the folder `kernels` and of `elementwise`, by name."""
    # sorted: the order in HELPERS depends on what this process has exported before
    return _of_files() | dict(sorted(elementwise.HELPERS.items()))


@functools.cache
def _of_files() -> dict[str, str]:
    """The helpers of the folder `kernels`: name of the function or struct -> its comment and text."""
    table = {}
    for path in sorted((Path(__file__).parent / "kernels").glob("*.c")):
        for chunk in re.split(r"^(?=/\* )", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
            name = re.search(r"^struct (\w+) \{|^static .*?(\w+)\(", chunk, re.M)
            assert name is not None
            table[name[1] or name[2]] = chunk.strip() + "\n"
    return table


def argument_name(text: str, taken: set[str]) -> str:
    """A name for an argument of a function, unlike the names of helpers and of arrays of weights."""
    taken.update(_of_files())
    # names of weights contain w_; names of helpers of `elementwise` begin with map_ or loss_
    is_taken = "w_" in text.lower() or text.startswith(("map_", "loss_"))
    if is_taken:
        text = f"x_{text}"
    return identifier(text, taken)


def _numbers(buffer: CArray) -> str:
    """The values of an array as the lines of an initializer."""
    assert buffer.values is not None
    if buffer.integer:
        texts = [str(int(v)) for v in buffer.values]
    else:
        texts = [literal(v) for v in buffer.values]
    across = 20 if buffer.type == "int8_t" else 8
    lines = []
    for i in range(0, len(texts), across):
        lines.append("    " + ", ".join(texts[i : i + across]))
    return ",\n".join(lines)


def _argument(arg: Any, name: str) -> str:
    """An argument of a call in C; name: the name of the export.

    A dict becomes a struct, a tuple an array of int.
    """
    if arg is None:
        return "NULL"
    if isinstance(arg, Value):
        return _pointer(arg, name)
    if isinstance(arg, dict):
        fields = []
        for key, value in arg.items():
            if key != "struct" and value is not None:
                fields.append(f".{key} = {_argument(value, name)}")
        return f"&(const struct {arg['struct']}){{{', '.join(fields)}}}"
    if isinstance(arg, tuple):
        return f"(const int[]){{{', '.join(map(str, arg))}}}"
    if isinstance(arg, (bool, int, np.integer)):
        return str(int(arg))
    if isinstance(arg, (float, np.floating)):
        return literal(arg)
    return str(arg).replace("state.", f"{name}_state.")  # update.py writes fields of the state so


def _pointer(value: Value, name: str) -> str:
    """The address of a value's first element in C."""
    buffer = value.buffer
    if buffer.kind == "temporary" and buffer.type != "float":
        start = f"({buffer.type} *)(ram + {buffer.offset})"
        if value.offset:
            return f"{start} + {value.offset}"
        return start
    if buffer.kind == "temporary":
        return f"ram + {buffer.offset + value.offset}"
    base = buffer.name
    if buffer.kind == "state":
        base = f"{name}_state.{buffer.name}"
    if value.offset:
        return f"{base} + {value.offset}"
    return base


def _call(instruction: Instruction, name: str) -> list[str]:
    """The lines of an instruction, with its comment."""
    arguments = ", ".join(_argument(arg, name) for arg in instruction.args)
    lines = _wrapped(f"{instruction.helper}({arguments});")
    if instruction.comment:
        lines.insert(0, f"    /* {_comment(instruction.comment)} */")
    return lines


def _wrapped(text: str) -> list[str]:
    """A statement, broken into indented lines."""
    return textwrap.wrap(
        text, _WIDTH, initial_indent="    ", subsequent_indent="        ", break_long_words=False
    )


def _comment(text: str) -> str:
    """Text for a comment of C: one line of ASCII, without what would end the comment."""
    plain = re.sub(r"\s+", " ", text).replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")
    return plain.encode("ascii", "replace").decode().replace("\\", "/")


def _prototype(routine: Routine) -> str:
    parameters = []
    for name, x, is_written in routine.arguments:
        parameter = f"{x.buffer.type} *{name}"
        if not is_written:
            parameter = f"const {parameter}"
        parameters.append(parameter)
    result = "void" if routine.result is None else "float"
    return f"{result} {routine.name}({', '.join(parameters) or 'void'})"


def _sizes(routine: Routine) -> str:
    return ", ".join(f"{name} {list(value.shape)}" for name, value, _ in routine.arguments)


def _function(routine: Routine, name: str) -> str:
    lines = [_prototype(routine), "{"]
    used: set[int] = set()
    for one in routine.instructions:
        used.update(id(value.buffer) for value in one.operands())
    lines += [f"    (void){a};" for a, value, _ in routine.arguments if id(value.buffer) not in used]
    for text in routine.prologue:
        lines += _wrapped(text.replace("state.", f"{name}_state."))
    for one in routine.instructions:
        lines += _call(one, name)
    for text in routine.epilogue:
        lines += _wrapped(text.replace("state.", f"{name}_state."))
    if routine.result is not None:
        array, _, offset = _argument(routine.result, name).partition(" + ")  # ram + 12 becomes ram[12]
        lines.append(f"    return {array}[{offset or 0}];")
    return "\n".join([*lines, "}"]) + "\n"


def same_text(name: str, *written: Any) -> bool:
    """True if two results (memory, functions, plans) have equal functions and arrays of equal values."""
    (memory, functions, _), (other, others, _) = written
    if [_function(f, name) for f in functions] != [_function(f, name) for f in others]:
        return False
    pairs = zip(memory.buffers, other.buffers, strict=True)
    return all(np.array_equal(a.values, b.values, equal_nan=a.type == "float") for a, b in pairs)


def _needed(routines: list[Routine]) -> list[str]:
    """The helpers that the functions call, directly or through helpers, in the order of the table."""
    table = _helpers()
    needed: set[str] = set()
    more: set[str] = set()
    for routine in routines:
        more.update(instruction.helper for instruction in routine.instructions)
    while more:
        needed |= more
        words: set[str] = set()
        for name in more:
            words.update(re.findall(r"\w+", _code(table[name])))
        more = (words & table.keys()) - needed
    return [name for name in table if name in needed]


def _code(text: str) -> str:
    """A helper without its comments."""
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def code_size(routines: list[Routine]) -> int:
    """An estimate of the bytes of machine code, from the number of tokens of the source.

    The factors were fitted to gcc -Os for Cortex-M4 and x86-64.
    """
    helpers = _helpers()
    tokens = 0
    for name in _needed(routines):
        tokens += len(re.findall(r"\w+|[^\s\w]", _code(helpers[name])))
    calls = 0
    for routine in routines:
        calls += sum(len(instruction.args) for instruction in routine.instructions)
    return int(1.1 * tokens + 5 * calls)


def files(
    name: str, stem: str, routines: list[Routine], memory: FileArrays, ram: int, separate: str | None
) -> dict[str, str]:
    """File name -> text, of the header, the source, and the file of the weights if `separate` names one.

    name: the name of the export. stem: the file name of header and source without its ending. ram: floats of
    the block of intermediate values.
    """
    constants = [b for b in memory.buffers if b.kind == "constant"]
    storage = "static " if separate is None else ""
    weights = "\n".join([_constant(b, name, storage) for b in constants])
    state = _state(name, memory)
    guard = f"{name.upper()}_FLASH"
    flash = f"#ifndef {guard} /* where the weights lie, such as __attribute__((section(...))) */\n"
    flash += f"#define {guard}\n#endif\n"
    helpers = _helpers()
    head = f'/* {stem}.h says what the functions do. Written by ranvier. */\n#include "{stem}.h"\n'
    texts = {f"{stem}.h": _header(name, routines, memory)}
    includes = "#include <math.h>\n#include <stddef.h>\n"
    body = [helpers[n] for n in _needed(routines)]
    if ram:
        comment = "/* intermediate values; two that do not live at the same time share memory */"
        body.append(f"{comment}\nstatic float ram[{ram}];\n")
    body += [_function(routine, name) for routine in routines]
    if separate is None:
        parts = [head + includes]
        if constants:
            parts += [flash, weights]
        if state:
            parts.append(state)
        parts += body
    else:
        parts = [head + "#include <math.h>\n", flash, *_externs(constants), weights, state]
        texts[separate] = "\n".join(parts)
        parts = [head + includes, *_externs(constants), *body]
    texts[f"{stem}.c"] = "\n".join(parts)
    return texts


def _externs(constants: list[CArray]) -> list[str]:
    if constants:
        return ["".join(f"extern const {b.type} {b.name}[{b.size}];\n" for b in constants)]
    return []


def _constant(b: CArray, name: str, storage: str) -> str:
    return f"{storage}const {name.upper()}_FLASH {b.type} {b.name}[{b.size}] = {{\n{_numbers(b)}\n}};\n"


def _has_state(memory: FileArrays) -> bool:
    return any(b.kind == "state" for b in memory.buffers) or bool(memory.scalars)


def _state(name: str, memory: FileArrays) -> str:
    if not _has_state(memory):
        return ""
    fields = []
    for b in memory.buffers:
        if b.kind == "state":
            assert b.values is not None
            numbers = "{0.0f}"
            if b.values.any():
                numbers = f"{{\n{_numbers(b)}\n    }}"
            fields.append(f"    .{b.name} = {numbers},\n")
    for kind, scalar, start in memory.scalars:
        number = literal(start) if kind == "float" else str(int(start))
        fields.append(f"    .{scalar} = {number},\n")
    return f"struct {name}_state {name}_state = {{\n{''.join(fields)}}};\n"


def _header(name: str, routines: list[Routine], memory: FileArrays) -> str:
    guard = f"{name.upper()}_H"
    names = ", ".join(r.name for r in routines)
    lines = [
        f"/* Written by ranvier: {names}. C99; needs libm only. All memory is",
        "   static: two calls must not run at the same time. A result may be the array of an input of the",
        "   same size, such as a state that each call renews; arrays must not overlap otherwise. */",
    ]
    lines += [f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", ""]
    lines += ["#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
    if _has_state(memory):
        lines += [f"/* What {name} learns: copy it as a whole to keep it, and back to go on from there. */"]
        lines += [f"struct {name}_state {{"]
        lines += [f"    float {b.name}[{b.size}];" for b in memory.buffers if b.kind == "state"]
        lines += [f"    {kind} {scalar};" for kind, scalar, _ in memory.scalars]
        lines += ["};", f"extern struct {name}_state {name}_state;", ""]
    helpers: set[str] = set()
    for routine in routines:
        helpers.update(one.helper for one in routine.instructions)
    if "quantize" in helpers:
        lines += [
            "/* Values in int8 end at the smallest and largest ones of the calibration data, infinity too;",
            "   NaN is the smallest: test inputs for NaN before a call. */",
        ]
    for routine in routines:
        if routine.result is not None:
            what = "One update; returns the loss."
        else:
            what = "Sizes:"
        lines += [f"/* {what} {_sizes(routine)}, in C order. */", f"{_prototype(routine)};", ""]
    return "\n".join([*lines, "#ifdef __cplusplus", "}", "#endif", "", f"#endif /* {guard} */"]) + "\n"
