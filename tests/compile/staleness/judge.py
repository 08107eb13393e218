"""The judge of staleness: a value that a compiled step depends on changes between two calls.

A scenario builds a step with what it depends on, and a change. It is run eagerly and compiled, from the same
seed: after every call results, parameters, buffers, gradients, optimizers and everything that the caller
still holds must have the eager bits.
"""

import os
import random
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ranvier as rv
from ranvier import _core
from ranvier.compile import program_cache
from ranvier.compile.guarding.signature import parts_of
from ranvier.nn import call_counts
from ranvier.observe import running

LATE = (4, 6, 9)  # calls after which something changes: among replays, not just before calls 4, 8
EARLY = (1, 3, 7)  # before the check at call 2, and just before calls 4 and 8
EACH = tuple(range(1, 11))  # after every call
LONG = (3, 12, 70, 700)
WAITS = "come too often"  # said of a step whose recordings do not pay; it is recorded again later


def default_inputs(number: int) -> tuple[Any, ...]:
    """x (4, 3), another at each call."""
    return (rv.tensor(np.random.default_rng(number).standard_normal((4, 3)).astype(np.float32)),)


@dataclass
class Case:
    """A step, freshly made.

    watch: gives tensors, modules, optimizers and other objects to compare.
    inputs: of the number of the call: a tuple of arguments, or (arguments, keywords).
    each: what the caller does after a call, with (number, result).
    calls: how many, if the step itself makes the changes.
    """

    step: Callable[..., Any]
    watch: Callable[[], Any] = tuple
    inputs: Callable[[int], Any] = default_inputs
    each: Callable[[int, Any], Any] | None = None
    calls: int | None = None
    holds: bool = True  # whether the caller keeps the results


@dataclass
class Scenario:
    """build: makes a Case with a Run, which compiles its step; make: what the step depends on, with the first
    of the values, and change: with that and another value, between two calls."""

    name: str
    build: Callable[["Run", Any], Case]
    make: Callable[[Any], Any] = lambda value: None
    change: Callable[[Any, Any], Any] | None = None
    values: Sequence[Any] = (1.0, 2.0, 3.0, 4.0)
    neutral: bool = False  # the change is to have no effect
    raises: bool = False  # the eager step itself raises in some calls
    eager: bool = False  # the step may run eagerly, after a warning


class Patch:
    """Sets attributes and items of lasting objects, and sets them back after the run."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], Any]] = []

    def __call__(self, owner: Any, name: str, value: Any) -> Any:
        if name in vars(owner):
            before = vars(owner)[name]
            self.after(lambda: setattr(owner, name, before))
        else:
            self.after(lambda: delattr(owner, name) if name in vars(owner) else None)
        setattr(owner, name, value)
        return owner

    def item(self, owner: Any, key: Any, value: Any) -> Any:
        if key in owner:
            before = owner[key]
            self.after(lambda: owner.__setitem__(key, before))
        else:
            self.after(lambda: owner.pop(key, None))
        owner[key] = value
        return owner

    def after(self, undo: Callable[[], Any]) -> None:
        self._undo.append(undo)

    def undo(self) -> None:
        while self._undo:
            self._undo.pop()()


patch = Patch()


class Alone:
    """A module's calls without gradients: replayed without being asked for, or as they are written."""

    def __init__(self, module: Any, replayed: bool) -> None:
        self.module, self.replayed = module, replayed

    @property
    def programs(self) -> Any:
        return getattr(call_counts.attached(self.module, call_counts.REPLAY, None), "programs", ())

    @rv.no_grad()
    def __call__(self, *args: Any) -> Any:
        return self.module(*args) if self.replayed else as_written(self.module, *args)


def as_written(function: Any, *args: Any) -> Any:
    """Its result, while no module is replayed."""
    running.append(threading.get_ident())
    try:
        return function(*args)
    finally:
        running.remove(threading.get_ident())


class _Uncounted(dict):
    """In place of `program_cache._unpaid`, by which a function is recorded less if others of the same code
    were freed before their recordings paid. It stays empty, so that scenarios do not depend on each other."""

    def __setitem__(self, key: Any, count: Any) -> None: ...


class Run:
    """One pass over all calls of a scenario, and what it has shown.

    at: the calls after which something changes; changed: whether it does; counts: notes how many functions of
    these files each call enters; unlike: a run: this one ends at the first difference from it. settings: of
    rv.compile.
    """

    def __init__(
        self,
        one: Scenario,
        compiled: bool,
        at: tuple[int, ...],
        changed: bool = True,
        counts: bool = False,
        unlike: "Run | None" = None,
        **settings: Any,
    ) -> None:
        self.one, self.compiled, self.at, self.changed = one, compiled, at, changed
        self.counts, self.unlike, self.settings = counts, unlike, settings
        self.seen: list[dict[str, Any]] = []  # after each call
        self.refused = ""  # why, if a call raised CaptureError
        self.entered: list[int] = []  # functions of scenarios that each call entered
        self.programs: int | None = None  # how many there are in the end; None: nothing is compiled here
        self._made: list[Any] = []
        before = _core.get_num_threads(), _core.get_winograd(), _core.isa()
        rv.manual_seed(7)
        random.seed(7)
        np.random.seed(7)  # noqa: NPY002
        patch(program_cache, "_unpaid", _Uncounted())
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self._call()
            self.warned = [str(w.message) for w in caught]
        finally:
            patch.undo()
            _core.set_num_threads(before[0])
            _core.set_winograd(before[1])
            _core.set_isa(before[2])

    def compile(self, function: Any) -> Any:
        self._made.append(rv.compile(function, **self.settings) if self.compiled else function)
        return self._made[-1]

    def alone(self, module: Any) -> Any:
        """Its calls without gradients, which it replays by itself."""
        # else a module is recorded only after 16 calls that have taken 20 ms together
        patch(call_counts, "_ENOUGH", 0.0)
        patch(call_counts, "_AT_LEAST", 2)
        self._made.append(Alone(module, self.compiled))
        return self._made[-1]

    def change(self, number: int) -> None:
        """The change of this number, from 1."""
        if self.changed and self.one.change is not None:
            self.one.change(self.thing, self.one.values[number % len(self.one.values)])

    def _call(self) -> None:
        self.thing = self.one.make(self.one.values[0])
        case = self.one.build(self, self.thing)
        calls, held = case.calls or max((10, *self.at)) + 1, []
        for number in range(1, calls + 1):
            given = case.inputs(number)
            keywords = len(given) == 2 and type(given[0]) is tuple and type(given[1]) is dict
            args, kwargs = given if keywords else (given, {})
            try:
                enter = (counted, self.entered, case.step) if self.counts else (case.step,)
                result = enter[0](*enter[1:], *args, **kwargs)
            except rv.CaptureError as error:
                self.refused, result = str(error), error.result
                del error
            except Exception as error:
                if not (self.compiled or self.one.raises):
                    raise
                result = f"raised {type(error).__name__}: {error}"
            # kept by the caller, so that a replay which writes to the memory of an older result is found
            held = [*held[-20:], result] if case.holds else [result]
            del args, kwargs, given, result
            if case.each is not None:
                case.each(number, held[-1])
            found: dict[str, Any] = {"random": repr(rv.get_rng_state().tolist())}
            describe(case.watch(), "watched", found, frozenset())
            # in the end all results: a replay may have written to an older one
            describe(held if number == calls else held[-1], "results", found, frozenset())
            self.seen.append(found)
            if self.unlike is not None and found != self.unlike.seen[number - 1]:
                return
            if case.calls is None and number in self.at:
                self.change(self.at.index(number) + 1)
        if self._made:
            self.programs = sum(len(getattr(c, "programs", ())) for c in self._made) if self.compiled else 0


class InOne(Run):
    """The calls of a scenario without its change, all in one (`step.run`) where it is compiled.

    possible: whether they have arguments of the same form, and the step is what is compiled.
    """

    def _call(self) -> None:
        case = self.one.build(self, self.one.make(self.one.values[0]))
        given = [case.inputs(number) for number in range(1, 20)]
        alike = {tuple([(type(x), getattr(x, "shape", ())) for x in args]) for args in given}
        only_tensors = all(kind is rv.Tensor for args in alike for kind, _ in args)
        results: list[Any] = []
        self.possible = len(alike) == 1 and only_tensors and (not self.compiled or hasattr(case.step, "run"))
        if not self.possible:
            return
        if self.compiled:
            results = leaves(case.step.run(*map(rv.stack, zip(*given, strict=True))))
        else:
            results = together([leaves(case.step(*args)) for args in given])
        found: dict[str, Any] = {"random": repr(rv.get_rng_state().tolist())}
        describe(case.watch(), "watched", found, frozenset())
        describe([x for x in results if x is not None], "results", found, frozenset())
        self.seen.append(found)


def together(each: list[list[Any]]) -> list[Any]:
    """The results of calls as those of one; where they are not all Tensors, one after the other."""
    each = [[x.detach() if isinstance(x, rv.Tensor) else x for x in one] for one in each]
    if all(x is None or isinstance(x, rv.Tensor) for one in each for x in one):
        return [rv.stack(column) for column in zip(*each, strict=True) if column[0] is not None]
    return [x for one in each for x in one]


def leaves(x: Any) -> list[Any]:
    """The items of containers, or the value itself."""
    parts = parts_of(x)
    return [x] if parts is None else [leaf for part in parts for leaf in leaves(part)]


def counted(numbers: list[int], step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The result of the step; appends how many functions of these files Python entered for it."""
    entered, here = 0, os.path.dirname(os.path.abspath(__file__)) + os.sep

    def note(frame: Any, event: str, _: Any) -> None:
        nonlocal entered
        entered += frame.f_code.co_filename.startswith(here)

    before = sys.gettrace()
    sys.settrace(note)
    try:
        return step(*args, **kwargs)
    finally:
        sys.settrace(before)
        numbers.append(entered)


def describe(x: Any, path: str, found: dict[str, Any], above: frozenset[int]) -> None:
    """All comparable values of an object, by path."""
    if isinstance(x, rv.Tensor):
        found[path] = _array(x)
        if x.is_inference():
            found[f"{path}.inference"] = True
        if x.is_leaf and x.requires_grad:
            found[f"{path}.requires_grad"] = True
        if x.is_leaf and x.grad is not None:
            found[f"{path}.grad"] = _array(x.grad)
        return
    if isinstance(x, (np.ndarray, np.generic)):
        found[path] = (x.dtype.str, x.shape, x.tobytes())
        return
    if id(x) in above:
        return
    above, parts = above | {id(x)}, {}
    found[path] = type(x).__name__
    if isinstance(x, rv.nn.Module):
        found[f"{path}.training"] = x.training
        parts = {f".{name}": p for name, p in (*x.named_parameters(), *x.named_buffers())}
    elif isinstance(x, rv.optim.Optimizer):
        for i, group in enumerate(x.param_groups):
            parts |= {f".groups[{i}].{name}": group[name] for name in sorted(group)}
            parts |= {f".state[{i}][{j}]": dict(x.state.get(p, {})) for j, p in enumerate(group["params"])}
    elif isinstance(x, dict):
        found[path] = (type(x).__name__, [str(key) for key in x])
        parts = {f"[{key!r}]": value for key, value in x.items()}
    elif isinstance(x, (list, tuple)):
        found[path] = (type(x).__name__, len(x))
        parts = {f"[{i}]": value for i, value in enumerate(x)}
    elif hasattr(type(x), "watch"):
        parts = {"": x.watch}
    elif hasattr(x, "__dict__") and not callable(x):
        parts = {f".{name}": value for name, value in vars(x).items()}
    elif isinstance(x, (int, float, str, bytes, complex, type(None))):
        found[path] = (type(x).__name__, repr(x))
    for name, value in parts.items():
        describe(value, path + name, found, above)


def _array(x: Any) -> Any:
    array = x._array  # x.numpy() would mark the tensor as shared with NumPy
    if array.dtype.kind == "f" and np.isnan(array).any():
        array = np.where(np.isnan(array), array.dtype.type(np.nan), array)  # NaN of any sign and payload
    return array.dtype.str, array.shape, array.tobytes()


def difference(expected: list[dict[str, Any]], got: list[dict[str, Any]]) -> str:
    """A description of the first difference; empty if there is none."""
    for number, (a, b) in enumerate(zip(expected, got, strict=True), 1):
        for name in {**a, **b} if a != b else ():
            if a.get(name) != b.get(name):
                return f"after call {number} {name} is {_shown(b.get(name))}; eager {_shown(a.get(name))}"
    return ""


def _shown(x: Any) -> str:
    if type(x) is tuple and len(x) == 3:
        return f"{np.frombuffer(x[2], x[0]).reshape(x[1]).tolist()!r:.80}"
    return f"{x!r:.80}"


def judge(one: Scenario, at: tuple[int, ...], **settings: Any) -> tuple[str, str]:
    """("captured", "eager" or what is wrong, a remark)."""
    expected = Run(one, False, at)
    if one.change is not None and id(one) not in _effective:
        unchanged = Run(one, False, at, changed=False, unlike=expected).seen
        effect = difference(unchanged, expected.seen[: len(unchanged)])
        assert bool(effect) != one.neutral, f"the change has {'an' if effect else 'no'} effect: {effect}"
        _effective[id(one)] = one
    got = Run(one, True, at, **settings)
    if wrong := difference(expected.seen, got.seen):
        return "wrong", f"{wrong} {got.refused}"
    if got.refused:
        return "refused, though it is not strict", got.refused
    warned = [text for text in got.warned if text not in expected.warned]
    if len({text.split("]")[0] for text in warned}) < len(warned) and got.programs is None:
        return "warned more than once", "; ".join(warned)
    if warned and all(WAITS in text for text in warned) and not one.eager:
        return "captured", "; ".join(warned)
    return ("eager" if warned or got.programs == 0 else "captured"), "; ".join(warned)


_effective: dict[int, Scenario] = {}  # those whose change was found to have the effect it should have
