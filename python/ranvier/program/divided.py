"""CompiledStep: a function whose parts are compiled where it cannot be compiled as a whole."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from enum import Enum
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any
from weakref import ref

import numpy as np

import ranvier._core as _core
from ranvier.autograd.recording import current, package, recordings
from ranvier.autograd.tensor import Tensor
from ranvier.program.batches import Runs
from ranvier.program.cache import Account
from ranvier.program.compiled import CompiledFunction
from ranvier.program.executed import Executed, names_of
from ranvier.program.kinds import PLAIN
from ranvier.program.program import Program
from ranvier.program.record import CaptureError
from ranvier.program.regions import (
    CALLED,
    RESULTS,
    Region,
    code_of,
    divided,
    lines_that_bind,
    parsed,
    statements_with,
)
from ranvier.program.signature import tensors_of

_MOST_CUTS = 24
_MOST_CALLED = 16  # functions
_FEWEST = 3  # instructions of a program of a region: a call costs more than fewer of them save
# What a reason is about: a name in the step, mostly.
_ABOUT = re.compile(r"(?:depends on|changes|names|differs from those before, by) (.*?)(?:,| each time|;|$)")
_OPEN = "a Tensor among its arguments is on a tape"


def results(arguments: tuple[Any, ...], names: tuple[str, ...], bound: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a region returns: the variables that it binds, by their places among the arguments or by value.

    A replay gives an argument back as the same object only by its place.
    """
    places: list[Any] = []
    values: list[Any] = []
    arrays: list[Any] = []
    recording = current() if recordings else None
    for name, x in zip(names, bound, strict=True):
        place = _place(x, arguments)
        places.append(place)
        values.append(None if place else x)
        if recording is not None and not place and not recording.fault:
            reason = _unlike(x, arrays, recording)
            recording.fault = f"the step names {name}, {reason}" if reason else ""
        arrays += [] if place else [t._array for t in tensors_of(x)]
    return tuple(places), tuple(values)


def _unlike(x: Any, arrays: list[Any], recording: Any) -> str:
    """Why a replay would not give the statements after a region what it gives them now; or ""."""
    if type(x) is tuple:
        return next(filter(None, [_unlike(item, arrays, recording) for item in x]), "")
    if not isinstance(x, Tensor):
        plain = x is None or type(x) in PLAIN or isinstance(x, (np.generic, Enum))
        return "" if plain else f"a {type(x).__name__}, which a replay would not make again"
    gradients = [leaf.grad._array for leaf, *_ in recording.leaves.values() if leaf.grad is not None]
    if _core.share_memory([x._array], [*arrays, *gradients]):
        return "which shares memory with another variable or with a gradient"
    if recording.core.kind_of(x._array) == "temporary" and (
        x._grad is not None or (x._requires_grad and x._grad_fn is None) or x.__dict__
    ):
        return "a Tensor with a gradient or an attribute of its own"
    return ""


def _place(x: Any, arguments: tuple[Any, ...]) -> tuple[int, ...] | None:
    """Where the same object is among the arguments, or in a list or tuple among them."""
    for i, argument in enumerate(arguments):
        if argument is x:
            return (i,)
        if type(argument) in (list, tuple):
            inner = next((k for k, item in enumerate(argument) if item is x), None)
            if inner is not None:
                return i, inner
    return None


class CompiledStep(CompiledFunction, Runs):
    """What :func:`compile` returns for a function.

    Where a statement of it cannot be replayed, the runs of statements before and after it are compiled each
    by itself (regions), and the statement runs in Python at each call.
    """

    def _forget(self) -> None:
        super()._forget()
        self._division: Division | None = None
        self._parts = None

    def _method_of(self, instance: Any) -> Any:
        return _CompiledMethod(self, instance)

    def _in_parts(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._division is not None and self._division.is_stale():
            self._forget()
            return self(*args, **kwargs)
        return self._parts(*args, **kwargs)

    @property
    def programs(self) -> list[Program]:
        """Those of the whole function, of its regions, and of a method those of all its objects."""
        parts = [] if self._division is None else self._division.all()
        return super().programs + [program for part in parts for program in part.programs]

    def _gives_up(self, why: str, executed: Executed | None) -> None:
        """The whole step cannot be replayed."""
        if not self._cuts(why, executed):
            self._warn(why)

    def _cuts(self, why: str, executed: Executed | None) -> bool:
        """Whether the step is divided now."""
        if self._strict or self._division is not None:
            return False
        self._division = Division(self)
        return self._division.cut(self._function, None, why, executed)

    def divided(self, parts: Callable[..., Any] | None) -> None:
        """Takes the divided function, which runs from now on; None: nothing of it can be replayed."""
        self._parts, self._cache.resting = parts, sys.maxsize


class _CompiledMethod(CompiledStep):
    """The compiled method of one object."""

    def __init__(self, family: CompiledFunction, owner: Any) -> None:
        self._family, self._owner = family, ref(owner)
        super().__init__(family._function, family._verify, family._strict)

    def run(self, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        return super().run(self._owner(), *args, indices=indices, **kwargs)

    def __reduce_ex__(self, protocol: Any) -> Any:  # with its object: a copy of that starts without programs
        return type(None), ()


class _Part(CompiledFunction):
    """A part of a step, whose results have the tapes that they have in the eager step."""

    _keeps_tapes = True

    def _record(self, key: Any, arrays: list[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if any(isinstance(x, Tensor) and x._grad_fn is not None for x in args):
            self._gives_up(_OPEN, None)
            return self._eager(args, kwargs)
        return super()._record(key, arrays, args, kwargs)

    def _is_slower(self) -> None:
        self._gives_up("replays of this part take longer than eager calls", None)

    def _program(self, *parts: Any) -> Program:
        program = super()._program(*parts)
        if len(program.instructions) < _FEWEST:
            raise CaptureError("[compile] this part of the step calls too few kernels")
        return program


class CompiledRegion(_Part):
    """A run of statements of a step, compiled by itself."""

    def __init__(self, division: Division, region: Region, function: FunctionType, verify: Any) -> None:
        self._division, self.region = division, region
        super().__init__(function, verify)

    def _account(self) -> Account:
        return self._division.account.part(self.region.key)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = super().__call__(*args)
        if self.region.ends:
            return result
        places, values = result  # of `results`
        return [_variable(place, value, args) for place, value in zip(places, values, strict=True)]

    def retire(self) -> None:
        """Runs in Python from now on: only a call of the step that has begun still uses it."""
        self._disarm()
        self._cache.resting = sys.maxsize

    def _leaves_out(self, what: str) -> bool:
        self._gives_up(f"the step changes {what} each time it runs", self._executed)
        return True

    def _gives_up(self, why: str, executed: Executed | None) -> None:
        self._division.cut(self._function, self.region, why, executed)


def _variable(place: Any, value: Any, args: tuple[Any, ...]) -> Any:
    if place is None:
        return value
    return args[place[0]] if len(place) == 1 else args[place[0]][place[1]]


class CompiledPart(_Part, CompiledStep):
    """A function that a divided step calls, compiled by itself."""

    def __init__(self, division: Division, function: FunctionType, verify: Any) -> None:
        super().__init__(function, verify)
        self._caller = division
        self.failed = False

    def _warn(self, why: str) -> None:
        self.failed = True
        self._caller.tell()


class Division:
    """A step in parts: regions, each compiled by itself, and what is between them, in Python."""

    def __init__(self, step: CompiledStep) -> None:
        self._step, self.account = ref(step), step._cache.account
        function = step._function
        self._bound = function.__self__ if isinstance(function, MethodType) else None
        function = function.__func__ if isinstance(function, MethodType) else function
        self._function: Any = function
        self._node = parsed(function) if isinstance(function, FunctionType) else None
        if self._node is not None:
            self._was = function.__code__, function.__defaults__, function.__kwdefaults__
        self._lines: set[int] = set()  # that stay in Python
        self._calling: set[int] = set()  # ... where a function that they call is the reason
        self._count, self.why = 0, ""
        self.compiled: dict[Any, CompiledRegion] = {}  # by the region's key
        self._called: dict[FunctionType, CompiledPart] = {}
        self._has_run = False  # whether the divided function has called a function outside the regions

    def cut(self, function: Any, region: Region | None, why: str, executed: Executed | None) -> bool:
        """Leaves out of the regions what cannot be replayed; False: it is not known what that is.

        function: the one that was recorded: the region's, or the whole step where region is None.
        """
        step, node = self._step(), self._node
        if node is None or step is None:
            return False
        self.why = self.why or why
        code = getattr(function, "__func__", function).__code__
        lines, calling = _lines_of(self._named(why, code), code, executed or Executed(), node)
        if region is not None:
            first, last = region.lines
            inside = {line for line in lines if first <= line <= last}
            lines = inside or {*range(first, last + 1)}
        if not lines:
            return False
        with step._lock:
            self._lines |= lines
            self._calling |= lines & calling
            self._count += 1
            definition, regions = divided(node, self._function, self._lines, self._calling)
            regions = regions if self._count < _MOST_CUTS else []
            function = self._divided_function(definition, regions)
            step.divided(function if regions or self._calling else None)
        self.tell()
        return True

    def is_stale(self) -> bool:
        """Whether the function has other code or defaults now."""
        f = self._function
        return any(
            a is not b for a, b in zip((f.__code__, f.__defaults__, f.__kwdefaults__), self._was, strict=True)
        )

    def all(self) -> list[CompiledFunction]:
        """The regions, and the functions that are called outside of them."""
        return [*self.compiled.values(), *self._called.values()]

    def tell(self) -> None:
        """Warns if nothing of the step is captured."""
        step = self._step()
        waits = bool(self._calling) and not self._has_run
        captured = self.compiled or waits or not all(part.failed for part in self._called.values())
        if step is not None and not captured:
            step._warn(self.why)

    def called(self, function: Any) -> Any:
        """What stands for a function that a statement outside the regions calls."""
        plain = function.__func__ if isinstance(function, MethodType) else function
        self._has_run = True
        if type(plain) is not FunctionType or plain.__code__.co_filename.startswith(package()):
            self.tell()
            return function
        part = self._called.get(plain)
        if part is None and len(self._called) < _MOST_CALLED:
            step: Any = self._step()
            part = self._called[plain] = CompiledPart(self, plain, step._verify)
        if part is None or part.failed:
            return function
        return part if plain is function else functools.partial(part, function.__self__)

    def _named(self, why: str, code: CodeType) -> str:
        """The reason with names in place of the numbers of positional arguments."""
        first = self._bound is not None and code is self._function.__code__  # after self
        numbered = {str(i): name for i, name in enumerate(code.co_varnames[first : code.co_argcount])}
        return re.sub(r"\bargument (\d+)", lambda match: numbered.get(match[1], match[0]), why)

    def _divided_function(self, node: Any, regions: list[Region]) -> Callable[..., Any]:
        """The divided function; regions that are as before keep their programs."""
        old, self.compiled = self.compiled, {}
        for region in regions:
            unchanged = old.pop(region.key, None)
            self.compiled[region.key] = self._compiled(region) if unchanged is None else unchanged
        for outdated in old.values():
            outdated.retire()
        cells: dict[str, Any] = {region.name: self.compiled[region.key] for region in regions}
        cells[CALLED] = self.called
        function = self._function_of(node, cells)
        function.__defaults__, function.__kwdefaults__ = (
            self._function.__defaults__,
            self._function.__kwdefaults__,
        )
        return function if self._bound is None else MethodType(function, self._bound)

    def _compiled(self, region: Region) -> CompiledRegion:
        step: Any = self._step()
        return CompiledRegion(self, region, self._function_of(region.node, {RESULTS: results}), step._verify)

    def _function_of(self, node: Any, more: dict[str, Any]) -> FunctionType:
        """A definition as a function with the variables of the step, and others by name."""
        own: Any = self._function
        code = code_of(node, own.__code__, more)
        cells = dict(zip(own.__code__.co_freevars, own.__closure__ or (), strict=True))
        cells |= {name: CellType(value) for name, value in more.items()}
        closure = tuple([cells[name] for name in code.co_freevars])
        function = FunctionType(code, own.__globals__, own.__name__, None, closure)
        function.__qualname__, function.__module__ = own.__qualname__, own.__module__
        return function


# --- which lines a reason is about
def _lines_of(why: str, code: CodeType, executed: Executed, node: Any) -> tuple[set[int], set[int]]:
    """The lines of a step on which it does what cannot be replayed, and those where a function called does.

    They are taken from the text of the reason: places in it (file:line), or the last name in it that the
    step or a function that it called names. A wrong guess costs time only, as the next recording checks.
    """
    lines: set[int] = set()
    calling: set[int] = set()
    for file in {c.co_filename for c, _ in executed.codes.values()}:
        for match in re.finditer(re.escape(file) + r":(\d+)", why):
            inner = _code_at(file, int(match[1]), executed)
            if inner is code:
                lines.add(int(match[1]))
            elif inner is not None:
                calling |= executed.lines.get(id(inner), set())
    about = None if lines or calling else _ABOUT.search(why)
    for name in reversed(re.findall(r"\w+", about[1] if about else "")):
        if name in names_of(code).names or name in code.co_varnames:
            lines = {*statements_with(node, name)}
            if name in code.co_varnames[: code.co_argcount]:  # until it is bound to something else
                first = code.co_firstlineno
                bound = [line for line in lines_that_bind(node, name) if line >= first]
                lines = {line for line in lines if line <= min(bound, default=line)}
        if not lines:
            others = [c for c, _ in executed.codes.values() if c is not code and name in names_of(c).names]
            calling = {line for c in others for line in executed.lines.get(id(c), ())}
        if lines or calling:
            break
    return lines | calling, calling - lines


def _code_at(file: str, line: int, executed: Executed) -> CodeType | None:
    """The innermost code that ran which has a line."""
    codes = [c for c, _ in executed.codes.values() if c.co_filename == file]
    around = [c for c in codes if c.co_firstlineno <= line <= max(n or 0 for *_, n in c.co_lines())]
    return max(around, key=lambda c: c.co_firstlineno, default=None)
