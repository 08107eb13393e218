"""A program run line by line in PyTorch and here, what differs, and the least program that differs so."""

import functools
import re
import warnings
from typing import Any, NamedTuple

import numpy as np
import ranvier as rv
from differential.random_programs import Drawing, on_tape, reaches_leaf, same_memory

LINES = 14
# a tensor that is changed in place by another; groups: both names. a0[1:] = a1, a0 += a1, a0.data.add_(a1
_COPY = re.compile(
    r"(?:with T.\w+\(\w*\): )?(a\d+)(?:\.data|\.detach\(\))?(?:\[.*\] .?= | .= |\.\w+_\()(a\d+)"
)
# methods that give a view or a copy, as the strides allow
_MAY_COPY = re.compile(r"\.(contiguous|flatten|ravel|reshape|unflatten|view|view_as)\(")
# lines that lead to float32: by its name, or by bools and whole numbers, which become float32 in most ops
_SINGLE = re.compile(r"float32|(float|bool|int|long)\(\)|= \(a\d+ > ")
_TOLERANCE = {"float32": (1e-4, 1e-5), "float64": (1e-9, 1e-10)}  # float64 only where nothing is float32
# of halves, which each line and its gradient round, as far as the largest number of the program
_HALVES = {"bfloat16": 2 * LINES * 2.0**-8, "float16": 2 * LINES * 2.0**-11}


class Verdict(NamedTuple):
    """kind: same, differs, refused (by us only), allowed (by us only), crash, layout, open.

    crash: an error that is not in our form. layout: whether a line copies depends on strides, which are not
    PyTorch's everywhere. open: what the program has to do is not defined; the detail says why.
    """

    kind: str
    line: str = ""
    detail: str = ""


def torch() -> Any:
    import torch

    return torch


class EndsProcess(Exception):
    """In place of a line at which PyTorch ends the process: a hook of a view without a history."""


class Machine:
    """One library, with the names that a program has made."""

    def __init__(self, library: Any) -> None:
        self.names: dict[str, Any] = {"T": library, "log": []}
        self.Tensor = library.Tensor

    def run(self, line: str) -> Exception | None:
        hooked = self.names.get(_subject(line)) if "register_hook" in line else None
        if (
            hasattr(hooked, "_is_view") and hooked.requires_grad and not on_tape(hooked)
        ):  # a Tensor of PyTorch
            return EndsProcess()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(_compiled(line), self.names)
        except Exception as error:
            return error
        return None

    def settle(self) -> None:
        """Gives PyTorch's views the histories of now, which they else get with their next use."""
        for t in self.tensors.values():
            try:
                t.grad_fn  # noqa: B018
            except RuntimeError:  # a view that cannot be used any more
                continue

    @property
    def tensors(self) -> dict[str, Any]:
        return {n: t for n, t in self.names.items() if isinstance(t, self.Tensor)}


@functools.lru_cache(20_000)
def _compiled(line: str) -> Any:
    return compile(line, "<program>", "exec")


def draw(seed: int, dtype: str = "") -> list[str]:
    """The lines of a random program; the last one is a backward pass from all that is on the tape.

    dtype: of most tensors; drawn if it is not given.
    """
    drawing, machine = Drawing(seed, dtype), Machine(torch())
    program = drawing.start()
    for line in program:
        machine.run(line)
    for _ in range(drawing.rng.randint(4, LINES)):
        if not machine.tensors:
            break
        line = drawing.line(machine.tensors)
        error = machine.run(line)
        if error is None or drawing.rng.random() < 0.3:  # some lines that PyTorch refuses
            program.append(line)
        if error is not None and "backward(" in line:
            return program
    wanted = [n for n, t in machine.tensors.items() if reaches_leaf(t)]
    if wanted:
        program.append(f"({' + '.join(f'({n} * {i + 1}.0).sum()' for i, n in enumerate(wanted))}).backward()")
    return program


def compare(program: list[str]) -> Verdict:
    """Runs a program in both libraries; where PyTorch's result depends on what it saves, it runs again and
    saves copies."""
    verdict = _compare(program)
    if any(word in line for word in (".data", ".numpy()") for line in program):
        # a change that the tape does not count: PyTorch may have computed a gradient from the present values
        if verdict.kind == "differs":
            verdict = _compare_with_copies(program)
            if verdict.kind == "differs" and _reads_what_changed(program):
                return Verdict("open", detail="PyTorch's gradients depend on what it saves")
    elif verdict.kind == "allowed" and "modified by an inplace" in verdict.detail:
        # only PyTorch needs the old values; with copies of them it shows whether our gradients are right
        decided = _compare_with_copies(program)
        if decided.kind == "differs":
            return decided
    return verdict


def _compare_with_copies(program: list[str]) -> Verdict:
    with _saved_are_copies():
        return _compare(program)


def _saved_are_copies() -> Any:
    return torch().autograd.graph.saved_tensors_hooks(lambda saved: saved.clone(), lambda saved: saved)


def _reads_what_changed(program: list[str]) -> bool:
    """True if PyTorch's own gradients depend on whether it saves copies."""
    plain, copying = Machine(torch()), Machine(torch())
    for line in program:
        plain.run(line)
        with _saved_are_copies():
            copying.run(line)
    return any(_difference_of_grads(t, copying.names.get(n)) for n, t in plain.tensors.items())


def _difference_of_grads(t: Any, u: Any) -> bool:
    grads = [None if x is None or not _keeps_grad(x) else x.grad for x in (t, u)]
    if None in grads:
        return grads[0] is not grads[1]
    return not np.allclose(*map(_array, grads), equal_nan=True)


def _compare(program: list[str]) -> Verdict:
    theirs, ours = Machine(torch()), Machine(rv)
    rtol, atol = _tolerance(program)
    for line in program:
        if _undefined(line, theirs):
            return Verdict("open", line, "copies between parts of one memory")
        if _copies_by_layout(line, theirs, ours):
            return Verdict("layout", line)
        expected, got = theirs.run(line), ours.run(line)
        theirs.settle()
        if isinstance(expected, (NameError, SyntaxError, EndsProcess)):
            return Verdict("open", line, "no program: a name is missing, or PyTorch ends the process")
        if got is not None and not _in_form(got):
            return Verdict("crash", line, f"{type(got).__name__}: {got}")
        if expected is None and got is not None and not _reaches_leaf(line, theirs):
            return Verdict("open", line, "a view made under no_grad() requires gradients that go nowhere")
        if expected is None and got is not None:
            return Verdict("refused", line, f"{type(got).__name__}: {got}")
        if expected is not None and got is None:
            return Verdict("allowed", line, f"{type(expected).__name__}: {expected}")
        if expected is not None and any(text in str(expected) for text in ("out of bounds", "out of range")):
            return Verdict("open", line, "both refuse an index, and PyTorch has written a part")
        if expected is not None and "backward(" in line:
            return Verdict("open", line, "both refuse a backward, and PyTorch has added some gradients")
        if "backward(" in line and (difference := _difference(theirs, ours, rtol, atol)):
            return Verdict("differs", line, difference)
    difference = _difference(theirs, ours, rtol, atol) or _unknown_sharing(ours)
    return Verdict("differs", program[-1], difference) if difference else Verdict("same")


def _tolerance(program: list[str]) -> tuple[float, float]:
    for dtype, tolerance in _HALVES.items():
        if any(dtype in line for line in program):
            return tolerance, tolerance
    return _TOLERANCE["float32" if any(map(_SINGLE.search, program)) else "float64"]


def _subject(line: str) -> str:
    """The tensor whose method a line calls."""
    return line.partition(".")[0].rpartition(" = ")[2]


def _reaches_leaf(line: str, machine: Machine) -> bool:
    """True if the tensor that a line begins with has a history that leads to a leaf in PyTorch."""
    x = machine.names.get(_subject(line))
    if "autograd.grad" in line:
        return False
    if x is None or not any(name in line for name in ("backward(", "register_hook(", "retain_grad(")):
        return True
    return all(reaches_leaf(machine.names.get(name)) for name in re.findall(r"a\d+", line))


def _undefined(line: str, machine: Machine) -> bool:
    """True if a line copies between parts of one memory, of which PyTorch says nothing."""
    found = _COPY.match(line)
    pair = [machine.names.get(name) for name in found.groups()] if found else [None]
    if any(not isinstance(x, machine.Tensor) for x in pair):
        return False
    x, y = pair
    if x is y and "[[" not in line:  # each element by itself, as in a0 += a0, or all by an error
        return False
    if same_memory(x, y):
        return True
    return all(t.dtype != torch().bfloat16 for t in pair) and np.may_share_memory(
        x.detach().numpy(), y.detach().numpy()
    )  # by from_numpy


def _copies_by_layout(line: str, theirs: Machine, ours: Machine) -> bool:
    """True if a line makes a copy of a tensor that is not in C order, and it is so in one library only."""
    name = _subject(line)
    if name not in theirs.tensors or name not in ours.tensors or not _MAY_COPY.search(line):
        return False
    return bool(theirs.names[name].is_contiguous() != ours.names[name].is_contiguous())


def _in_form(error: Exception) -> bool:
    kinds = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError)
    if isinstance(error, AttributeError) and "'NoneType'" in str(error):  # x.grad is None
        return True
    return isinstance(error, (*kinds, NameError)) and not isinstance(error, RecursionError)


def _difference(theirs: Machine, ours: Machine, rtol: float, atol: float) -> str:
    their, our = theirs.tensors, ours.tensors
    if rtol in _HALVES.values():
        atol *= max((_scale(_array(t)) for t in their.values()), default=1.0)
    if their.keys() != our.keys():
        return f"names {sorted(their)} and {sorted(our)}"
    for name, t in their.items():
        found = _unequal(t, our[name], rtol, atol)
        if found:
            return f"{name} is {found}"
        if not _keeps_grad(t):
            continue
        grad, mine = t.grad, our[name].grad
        if (grad is None) != (mine is None):
            return f"{name}.grad is {grad} in PyTorch, here {mine}"
        if grad is not None and (found := _unequal(grad, mine, rtol, atol)):
            return f"{name}.grad is {found}"
    saw, see = sorted(theirs.names["log"]), sorted(ours.names["log"])
    if len(saw) != len(see) or not np.allclose(saw, see, max(1e-3, rtol), max(1e-4, atol), equal_nan=True):
        return f"hooks saw {saw} in PyTorch, here {see}"
    return ""


def _unknown_sharing(ours: Machine) -> str:
    """Two tensors of one memory that do not know of each other."""
    tensors = [(n, t) for n, t in ours.tensors.items() if not t._cell.unwatched]
    for name, t in tensors:
        for other, u in tensors:
            if t._cell is not u._cell and np.shares_memory(t._array, u._array):
                return f"{name} and {other} share memory without knowing it"
    return ""


def _keeps_grad(t: Any) -> bool:
    try:
        return bool(t.is_leaf or t.retains_grad)
    except RuntimeError:  # a view that cannot be used any more
        return False


def _unequal(t: Any, u: Any, rtol: float, atol: float) -> str:
    expected, array = _array(t), _array(u)
    if expected.shape != array.shape or str(t.dtype) != str(u.dtype):
        return f"{t.dtype}{expected.shape} in PyTorch, here {u.dtype}{array.shape}"
    wide = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in (expected, array)]  # as atol may need
    if np.allclose(*wide, rtol, atol * max(1.0, _scale(expected)), equal_nan=True):
        return ""
    return f"{expected.tolist()} in PyTorch, here {array.tolist()}"


def _array(t: Any) -> np.ndarray[Any, Any]:
    """The elements; those of halves as float32."""
    t = t.detach()
    return (t.float() if any(name in str(t.dtype) for name in _HALVES) else t).numpy()


def _scale(array: np.ndarray[Any, Any]) -> float:
    finite = array[np.isfinite(array)]
    return float(np.abs(finite).max()) if finite.size else 0.0


def shrunk(program: list[str], kind: str) -> list[str]:
    """The program without every line that the difference does not need."""
    changed = True
    while changed:
        changed = False
        for at in reversed(range(len(program))):
            shorter = program[:at] + program[at + 1 :]
            if shorter and compare(shorter).kind == kind:
                program, changed = shorter, True
    return program
