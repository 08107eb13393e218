"""The judge of staleness: a value that a compiled step depends on changes between two calls.

A scenario builds a step with what it depends on, and a change. It is run eagerly and compiled, from the same
seed: after every call results, parameters, buffers, gradients, optimizers and everything that the caller
still holds must have the eager bits, or the compiled step raises CaptureError, having run once eagerly.
"""

import inspect
import os
import random
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ranvier as rv
from compile.staleness.eager import runs_eagerly
from ranvier import _core
from ranvier.compile import cache

LATE = (4, 6, 9)  # calls after which something changes: among replays, not just before calls 4, 8
EARLY = (1, 3, 7)  # before the check at call 2, and just before calls 4 and 8
CALLS = 11
SLOW = "would take longer than is saved"  # on a busy machine, by chance
RIGHT = {"replayed", "recorded again", "eager"}


@dataclass
class Case:
    """A step with what it depends on, freshly made.

    change: called with 1, 2, 3 after the calls in LATE or EARLY; None where the step itself changes.
    watch: tensors, modules, optimizers and other objects to compare, or a function that gives them.
    inputs: of the number of the call: a tuple of arguments, or (arguments, keywords).
    each: what the caller does after a call, with (number, result).
    """

    step: Callable[..., Any]
    change: Callable[[int], Any] | None = None
    watch: Any = ()
    inputs: Callable[[int], Any] | None = None
    each: Callable[[int, Any], Any] | None = None
    holds: bool = True  # whether the caller keeps the results
    raises: bool = False  # whether the eager step itself raises in some calls


@dataclass
class Scenario:
    """neutral: the change is to have no effect."""

    name: str
    build: Callable[..., Case]
    neutral: bool = False


SCENARIOS: dict[str, Scenario] = {}


def add(name: str, build: Callable[..., Case], neutral: bool = False) -> None:
    assert name not in SCENARIOS, name
    SCENARIOS[name] = Scenario(name, build, neutral)


def scenario(neutral: bool = False) -> Callable[[Any], Any]:
    """Adds a function that makes a Case; its parameters are `compile_step` (or nothing) and `patch`."""

    def take(build: Any) -> Any:
        group = build.__module__.rpartition(".")[2].partition("_")[0]
        add(f"{group}/{build.__name__}", build, neutral)
        return build

    return take


class Patch:
    """Sets attributes and items of lasting objects, and sets them back after the run."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], Any]] = []

    def __call__(self, owner: Any, name: str, value: Any) -> None:
        space = vars(owner)
        if name in space:
            before = space[name]
            self._undo.append(lambda: setattr(owner, name, before))
        else:
            self._undo.append(lambda: delattr(owner, name) if name in vars(owner) else None)
        setattr(owner, name, value)

    def item(self, owner: Any, key: Any, value: Any) -> None:
        if key in owner:
            before = owner[key]
            self._undo.append(lambda: owner.__setitem__(key, before))
        else:
            self._undo.append(lambda: owner.pop(key, None))
        owner[key] = value

    def after(self, undo: Callable[[], Any]) -> None:
        self._undo.append(undo)

    def undo(self) -> None:
        while self._undo:
            self._undo.pop()()


def default_inputs(number: int) -> tuple[Any, ...]:
    """x (4, 3), another at each call."""
    return (rv.tensor(np.random.default_rng(number).standard_normal((4, 3)).astype(np.float32)),)


def labelled(number: int) -> tuple[Any, ...]:
    """x (4, 3) and labels from 0 to 2."""
    return (*default_inputs(number), rv.tensor(np.random.default_rng(number).integers(0, 3, 4)))


@dataclass
class Run:
    seen: list[dict[str, Any]] = field(default_factory=list)  # after each call
    refused: dict[int, str] = field(default_factory=dict)  # call: why
    programs: list[int] = field(default_factory=list)  # how many there are after each call
    changes: bool = False
    warned: list[str] = field(default_factory=list)
    entered: list[int] = field(default_factory=list)  # functions of scenarios that each call entered


def run(
    scenario: Scenario,
    compiled: bool,
    at: tuple[int, ...],
    changed: bool = True,
    counts: bool = False,
    unlike: Run | None = None,
    **settings: Any,
) -> Run:
    """One pass over all calls. settings: rv.compile's.

    counts: whether to note which calls run Python.
    unlike: the run ends at the first difference from this one.
    """
    before = _core.get_num_threads(), _core.get_winograd(), _core.isa(), _core.get_flush_denormal()
    cache._unpaid.clear()
    rv.manual_seed(7)
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    patch, done = Patch(), Run()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call = counted if counts else plainly
            _calls(scenario, compiled, at if changed else (), call, settings, patch, done, unlike)
        done.warned = [str(w.message) for w in caught]
    finally:
        patch.undo()
        _core.set_num_threads(before[0])
        _core.set_winograd(before[1])
        _core.set_isa(before[2])
        _core.set_flush_denormal(before[3])
    return done


def _calls(
    scenario: Scenario,
    compiled: bool,
    at: tuple[int, ...],
    call: Any,
    settings: Any,
    patch: Patch,
    done: Run,
    unlike: Run | None,
) -> None:
    made: list[Any] = []

    def compile_step(function: Any) -> Any:
        made.append(rv.compile(function, **settings) if compiled else function)
        return made[-1]

    asked = inspect.signature(scenario.build).parameters
    offered = {"compile_step": compile_step, "patch": patch}
    case = scenario.build(**{name: offered[name] for name in asked if name in offered})
    done.changes = case.change is not None
    step = case.step if "compile_step" in asked else compile_step(case.step)
    held: list[Any] = []
    for number in range(1, CALLS + 1):
        args, kwargs = arguments((case.inputs or default_inputs)(number))
        try:
            result, entered = call(step, args, kwargs)
            done.entered.append(entered)
        except rv.CaptureError as error:
            done.refused[number] = str(error)
            result = error.result
            del error
        except Exception as error:
            if not (compiled or case.raises):
                raise
            result = f"raised {type(error).__name__}: {error}"
        held = [*held, result] if case.holds else [result]
        del args, kwargs, result
        if case.each is not None:
            case.each(number, held[-1])
        watched = case.watch() if callable(case.watch) and not hasattr(case.watch, "forward") else case.watch
        found: dict[str, Any] = {"random": repr(rv.get_rng_state())}
        # in the end all results: a replay may have written to an older one
        shown = held if number == CALLS else held[-1]
        for name, x in (("watched", watched), ("results", shown)):
            describe(x, name, found, frozenset())
        del watched
        done.seen.append(found)
        if unlike is not None and found != unlike.seen[number - 1]:
            return
        done.programs.append(sum(len(getattr(c, "programs", ())) for c in made) if compiled else 0)
        if case.change is not None and number in at:
            case.change(at.index(number) + 1)


def plainly(step: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, int]:
    return step(*args, **kwargs), 0


def counted(step: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, int]:
    """(what the step returns, how many functions of these files Python entered for it)."""
    entered = 0

    def note(frame: Any, event: str, _: Any) -> None:
        nonlocal entered
        entered += frame.f_code.co_filename.startswith(_HERE)

    before = sys.gettrace()
    sys.settrace(note)
    try:
        return step(*args, **kwargs), entered
    finally:
        sys.settrace(before)


_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def arguments(given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if len(given) == 2 and type(given[0]) is tuple and type(given[1]) is dict:
        return given
    return given, {}


def describe(x: Any, path: str, found: dict[str, Any], above: frozenset[int]) -> None:
    """All comparable values of an object, by path."""
    if isinstance(x, rv.Tensor):
        found[path] = _array(x)
        grad = x.grad if x.is_leaf else None
        if x.is_leaf and x.requires_grad:
            found[f"{path}.requires_grad"] = True
        if grad is not None:
            found[f"{path}.grad"] = _array(grad)
        return
    if isinstance(x, (np.ndarray, np.generic)):
        found[path] = (x.dtype.str, x.shape, x.tobytes())
        return
    if id(x) in above:
        return
    above = above | {id(x)}
    found[path] = type(x).__name__
    if isinstance(x, rv.nn.Module):
        found[f"{path}.training"] = x.training
        for name, p in (*x.named_parameters(), *x.named_buffers()):
            describe(p, f"{path}.{name}", found, above)
    elif isinstance(x, rv.optim.Optimizer):
        for i, group in enumerate(x.param_groups):
            for name in sorted(group):
                describe(group[name], f"{path}.groups[{i}].{name}", found, above)
            for j, p in enumerate(group["params"]):
                describe(dict(x.state.get(p, {})), f"{path}.state[{i}][{j}]", found, above)
    elif isinstance(x, dict):
        found[path] = (type(x).__name__, [str(key) for key in x])
        for key, value in x.items():
            describe(value, f"{path}[{key!r}]", found, above)
    elif isinstance(x, (list, tuple)):
        found[path] = (type(x).__name__, len(x))
        for i, value in enumerate(x):
            describe(value, f"{path}[{i}]", found, above)
    elif hasattr(type(x), "watch"):  # of small.py
        describe(x.watch, path, found, above)
    elif hasattr(x, "__dict__") and not callable(x):
        for name, value in vars(x).items():
            describe(value, f"{path}.{name}", found, above)
    elif isinstance(x, (int, float, str, bytes, complex, type(None))):
        found[path] = (type(x).__name__, repr(x))


def _array(x: Any) -> Any:
    array = x._array  # x.numpy() would mark the tensor as shared with NumPy
    if array.dtype.kind == "f" and np.isnan(array).any():
        array = np.where(np.isnan(array), array.dtype.type(np.nan), array)  # of any sign and payload
    return array.dtype.str, array.shape, array.tobytes()


def difference(expected: list[dict[str, Any]], got: list[dict[str, Any]]) -> str:
    """A description of the first difference; empty if there is none."""
    for number, (a, b) in enumerate(zip(expected, got, strict=True), 1):
        if a == b:
            continue
        names = [name for name in {**a, **b} if a.get(name) != b.get(name)]
        if names:
            name = names[0]
            return f"after call {number} {name} is {_shown(b.get(name))}; eager {_shown(a.get(name))}"
    return ""


def _shown(x: Any) -> str:
    if type(x) is tuple and len(x) == 3:
        return f"{np.frombuffer(x[2], x[0]).reshape(x[1]).tolist()!r:.80}"
    return f"{x!r:.80}"


def judge(scenario: Scenario, at: tuple[int, ...], **settings: Any) -> tuple[str, str]:
    """(outcome, remark): those in RIGHT are right; a step in `eager.py` may run eagerly, others must not."""
    expected = run(scenario, False, at)
    if scenario.name not in _effective and expected.changes:
        unchanged = run(scenario, False, at, changed=False, unlike=expected).seen
        effect = difference(unchanged, expected.seen[: len(unchanged)])
        assert bool(effect) != scenario.neutral, f"the change has {'an' if effect else 'no'} effect: {effect}"
        _effective.add(scenario.name)
    got = run(scenario, True, at, **settings)
    if wrong := difference(expected.seen, got.seen):
        return "wrong", f"{wrong} {got.refused}"
    if got.refused:
        return "refused, though it is not strict", str(got.refused)
    if got.warned or not got.programs[-1]:
        slow = got.warned and all(SLOW in text for text in got.warned)
        right = slow or runs_eagerly(scenario.name)
        return ("eager" if right else "eager, though it should work"), str(got.warned)
    return "recorded again" if got.programs[-1] > got.programs[1] else "replayed", ""


_effective: set[str] = set()  # names of those whose change was found to have the effect it should have
