"""Proof of a captured step by another interpreter: each call of the core beside a reference in NumPy.

`validate` logs the calls of ``_core`` that an eager run makes: names, parameters, and where their arrays lie
in memory. It runs the log again, on other arguments and parameters, with a memory of its own: at each call

- the inputs are read from that memory, and must have the bits of the eager run (so nothing else than the
  logged calls has changed what a call reads: a program of these calls computes the same);
- `core_references` computes the results from them in float64, and the eager ones differ by rounding only;
- what the reference does not change keeps its bits.

Then the memory takes the eager bits, so rounding does not add up: limits are those of one call, from the
number of summed terms and the dtype. At the end the memory has the results, the gradients and all lasting
arrays of the eager run, bit for bit, and so has the replay of the program. A function of the core without a
reference makes the validation fail.
"""

import gc
import sys
from collections.abc import Callable, Iterator
from ctypes import c_uint8
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ranvier as rv
import support.core_references_layers
import support.core_references_steps  # noqa: F401
from ranvier.program.record import record
from support.calls_log import Call, Log, Operand, leaves, logged, mapped, root_of
from support.core_references import REFERENCES, Changed
from support.tolerance import tolerance

Array = np.ndarray[Any, Any]


class Wrong(AssertionError):
    """What a validation has found."""


class NotReplayed(Wrong):
    """There is no program for the other arguments and parameters."""


# --- the interpreter
class Memory:
    """Bytes by address: blocks that calls have made, arguments and lasting memory."""

    def __init__(self) -> None:
        self.blocks: dict[int, Array] = {}

    def put(self, address: int, content: Array) -> None:
        """A new block; what lay there has been freed."""
        end = address + len(content)
        for start in [s for s, b in self.blocks.items() if s < end and address < s + len(b)]:
            del self.blocks[start]
        self.blocks[address] = content

    def __contains__(self, operand: Operand) -> bool:
        start = operand.root[0]
        return start in self.blocks and len(self.blocks[start]) >= operand.root[1]

    def view(self, operand: Operand) -> Array:
        if operand not in self:
            raise Wrong(f"memory at {operand.address:#x} that nothing has made")
        offset = operand.address - operand.root[0]
        return np.ndarray(operand.shape, operand.dtype, self.blocks[operand.root[0]], offset, operand.strides)


def equal(a: Any, b: Any) -> bool:
    """Whether two arrays have the same bits, or are NaN of any sign at the same places."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return a.tobytes() == b.tobytes() or (
        a.dtype.kind == "f"
        and bool(np.all((a == b) & (np.signbit(a) == np.signbit(b)) | np.isnan(a) & np.isnan(b)))
    )


def interpret(log: Log, other: Log, memory: Memory, lasting: dict[int, Array]) -> None:
    """Runs the calls of `log` in the memory, beside those of another run of the step.

    lasting: the content of lasting memory before that run, by its address in `log`.
    """
    names, others = [c.name for c in log.calls], [c.name for c in other.calls]
    if names != others:
        raise Wrong(f"two runs of the step call other functions: {names} and {others}")
    places: dict[int, int] = {}  # lasting memory of the other run by that of the log
    for number, (call, run) in enumerate(zip(log.calls, other.calls, strict=True)):
        try:
            _interpreted(call, run, memory, lasting, places)
        except Wrong as error:
            raise Wrong(f"call {number} of {len(names)}, {call.name}: {error}") from None


def _interpreted(
    call: Call, run: Call, memory: Memory, lasting: dict[int, Array], places: dict[int, int]
) -> None:
    if call.name not in REFERENCES:
        raise Wrong("there is no reference for it")
    for name, value in call.given.items():
        found = list(leaves(run.given[name]))
        for a, b in zip(leaves(value), found, strict=True):
            if not isinstance(a, Operand):
                if a != b and not (a is b or (a != a and b != b)):
                    raise Wrong(f"{name} is {a!r} in one run and {b!r} in another")
                continue
            if a.form != b.form:
                raise Wrong(f"{name} is of {a.form} in one run and {b.form} in another")
            if a not in memory:
                if a.root[0] not in lasting or places.setdefault(a.root[0], b.root[0]) != b.root[0]:
                    raise Wrong(f"{name} is memory that was not there before the step, and no call has made")
                memory.put(a.root[0], lasting[a.root[0]].copy())
            if name == "settings" and call.name == "optimizer_step":  # refreshed by Python, as before replays
                memory.view(a)[...] = b.before
            if name != "out" and not equal(memory.view(a), b.before):
                raise Wrong(f"{name} has other bits than the calls before have given it")
    given = _arguments(call, memory)
    expected, limit = _computed(call, given), _limit(call, run)

    def near() -> list[Changed]:
        return [_computed(call, moved) for moved in _moved(given, _widest(run))]

    _compare("the result", run.result, expected, lambda e: e.result, limit, near)
    for name, value in call.given.items():
        known = name in expected.values or name == "out" or call.given.get("out") is not None
        if name in expected.values:
            after = mapped(lambda o: o and replace(o, before=o.after), run.given[name])
            _compare(name, after, expected, lambda e, name=name: e.values[name], limit, near)
        for a, b in zip(leaves(value), leaves(run.given[name]), strict=True):
            if isinstance(a, Operand):
                if not (known or equal(b.before, b.after)):
                    raise Wrong(f"{name} is changed, which the reference does not do")
                memory.view(a)[...] = b.after
    inputs = {o.root[0] for o in leaves(list(call.given.values())) if isinstance(o, Operand)}
    for a, b in zip(leaves(call.result), leaves(run.result), strict=True):
        if isinstance(a, Operand):
            if a.form != b.form:
                raise Wrong(f"the result is of {a.form} in one run and {b.form} in another")
            if a.root[0] not in inputs:
                memory.put(a.root[0], np.full(a.root[1], 0xCD, np.uint8))
            memory.view(a)[...] = b.before


def _computed(call: Call, given: dict[str, Any]) -> Changed:
    with np.errstate(all="ignore"):
        found = REFERENCES[call.name].function(**given)
    return found if isinstance(found, Changed) else Changed(found)


def _moved(given: dict[str, Any], dtype: Any) -> Iterator[dict[str, Any]]:
    """The parameters with one of them larger or smaller by a few roundings: beside a kink, either slope is
    right."""
    few = 4 * float(np.finfo(dtype).eps)
    for name, value in given.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            for factor in (1 - few, 1 + few):
                yield {**given, name: value * factor}


def _arguments(call: Call, memory: Memory) -> dict[str, Any]:
    """The parameters with the memory's arrays, floats as float64."""
    first = next((o for o in leaves(list(call.given.values())) if isinstance(o, Operand)), None)
    narrow = first is not None and first.dtype == np.float32

    def wide(x: Any) -> Any:
        if isinstance(x, Operand):
            array = memory.view(x)
            return array.astype(np.float64) if array.dtype.kind == "f" else array.copy()
        return x

    found = {name: mapped(wide, value) for name, value in call.given.items() if name != "out"}
    for name in ("a", "b", "low", "high"):  # numbers beside arrays are rounded to their dtype
        if narrow and type(found.get(name)) is float:
            found[name] = float(np.float32(found[name]))
    if "dtype" in found and isinstance(found["dtype"], type):
        found["dtype"] = np.dtype(found["dtype"])
    return found


def _floats(run: Call) -> list[Array]:
    operands = [o for o in leaves([*run.given.values(), run.result]) if isinstance(o, Operand)]
    return [x for o in operands if o.dtype.kind == "f" for x in (o.before, o.after) if x is not None]


def _widest(run: Call) -> Any:
    return max((a.dtype for a in _floats(run)), key=lambda d: np.finfo(d).eps)


def _limit(call: Call, run: Call) -> float:
    """How far an element of the results may be off."""
    reference, arrays = REFERENCES[call.name], _floats(run)
    if reference.terms is None or not arrays:
        return 0.0
    magnitude = max(1.0, *(float(np.abs(a[np.isfinite(a)]).max(initial=0)) for a in arrays))
    before = {
        name: mapped(lambda o: o.before if isinstance(o, Operand) else o, value)
        for name, value in run.given.items()
    }
    return tolerance(_widest(run), reference.terms(before), magnitude**reference.degree)


def _compare(
    what: str,
    got: Any,
    expected: Changed,
    part: Callable[[Changed], Any],
    limit: float,
    near: Callable[[], list[Changed]],
) -> None:
    """near: what the reference gives for other arguments within rounding."""
    wanted, found = list(leaves(part(expected))), list(leaves(got))
    if len(wanted) != len(found):
        raise Wrong(f"{what} has {len(found)} parts; the reference {len(wanted)}")
    for place, (x, operand) in enumerate(zip(wanted, found, strict=True)):
        if not isinstance(operand, Operand) or x is None:
            if not (operand is x or operand == x):
                raise Wrong(f"{what} is {operand!r}; the reference {x!r}")
            continue
        x, y = np.asarray(x), operand.before
        if x.shape != y.shape:
            raise Wrong(f"{what} has the shape {y.shape}; the reference {x.shape}")
        off = _off(x, y, limit)
        if off.any() and limit:
            for other in near():
                off &= _off(np.asarray(list(leaves(part(other)))[place]), y, limit)
        if off.any():
            worst = np.abs(y[off].astype(np.float64) - x[off]).max()
            raise Wrong(f"{what} is off by {worst:g}; at most {limit:g} is rounding")


def _off(x: Array, y: Array, limit: float) -> Array:
    """Where y is not x up to the limit; floats only have one."""
    with np.errstate(all="ignore"):
        same = x.astype(y.dtype) == y  # both may be infinite
        if y.dtype.kind != "f":
            return ~same
        near = np.abs(y.astype(np.float64) - x) <= limit
        return ~(same | near | (np.isnan(x) & np.isnan(y)))


# --- a captured step
@dataclass
class Validated:
    calls: int
    functions: set[str]


def validate(
    step: Callable[..., Any],
    first: tuple[Any, ...],
    second: tuple[Any, ...],
    between: Callable[[], Any] = lambda: None,
) -> Validated:
    """Validates a step that can be captured, on the arguments `second`, which are other values.

    between: changes parameters, buffers or settings before the last run.
    """
    for _ in range(2):  # states and gradients are made
        step(*first)
    known = _leaves()
    given = [(leaf, root_of(leaf._grad._array).ctypes.data) for leaf in known if leaf._grad is not None]
    result, log = logged_run(step, first)
    places = _places_of(result, known)
    del result
    for leaf in known:
        if leaf._grad is not None:  # the log holds its memory: steps that add to it would run eagerly
            leaf.grad = leaf._grad.clone()
    compiled = rv.compile(step, strict=True, verify=False)
    for _ in range(4):
        compiled(*first)
    between()
    before = _State(log, known)
    replayed = _outcome(_without_python(compiled, step, second), log, known)
    before.restore()
    _same("the eager step", replayed, _outcome(step(*second), log, known))
    before.restore()
    before.memory |= {address: content(root_of(leaf._grad._array)) for leaf, address in given}
    result, other = logged_run(step, second)
    _same("the recorded step", replayed, _outcome(result, log, known))
    if any(i.op == "numpy" for program in compiled.programs for i in program.instructions):
        return  # the log has no calls of NumPy, whose results the kernels read
    memory = Memory()
    for a, b in zip(_arrays(first), _arrays(second), strict=True):
        if before.memory.pop(root_of(a).ctypes.data, None) is not None:
            memory.put(root_of(a).ctypes.data, content(root_of(b)))
    interpret(log, other, memory, before.memory)
    for name, place in places.items():
        if place in memory and not equal(memory.view(place), _tensors_by_name(result, known)[name]._array):
            raise Wrong(f"{name} has other bits than the calls have given it")
    return Validated(len(log.calls), {c.name for c in log.calls})


def logged_run(step: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, Log]:
    """A run as a program is recorded from it."""
    with logged() as log:
        result, _, _ = record(step, args, {}, read=False)
    return result, log


class _State:
    """What a run changes: lasting memory and gradients."""

    def __init__(self, log: Log, known: list[Any]) -> None:
        settings = {c.given["settings"].root[0] for c in log.calls if c.name == "optimizer_step"}
        self.memory = {address: content(root) for address, root in log.lasting.items()}
        self.changing = self.memory.keys() - settings  # which Python writes anew before each run
        self.roots = log.lasting
        self.gradients = [(leaf, None if leaf._grad is None else leaf._grad.clone()) for leaf in known]

    def restore(self) -> None:
        for address in self.changing:
            _raw(self.roots[address])[...] = self.memory[address]
        for leaf, gradient in self.gradients:
            leaf.grad = None if gradient is None else gradient.clone()


def _outcome(result: Any, log: Log, known: list[Any]) -> dict[str, Array]:
    """All that a run leaves: results, gradients and lasting memory."""
    found = {name: t._array.copy() for name, t in _tensors_by_name(result, known).items()}
    return found | {f"memory at {address:#x}": content(root) for address, root in log.lasting.items()}


def _same(other: str, replayed: dict[str, Array], expected: dict[str, Array]) -> None:
    if replayed.keys() != expected.keys():
        raise Wrong(f"the replay leaves {set(replayed)}; {other} {set(expected)}")
    for name, array in replayed.items():
        if not equal(array, expected[name]):
            raise Wrong(f"{name} has other bits after the replay than after {other}")


def _tensors_by_name(result: Any, known: list[Any]) -> dict[str, Any]:
    found = {f"result {i}": t for i, t in enumerate(_tensors(result))}
    leaves = [leaf for leaf in known if leaf._grad is not None]
    return found | {f"gradient of {id(leaf)}": leaf._grad for leaf in leaves}


def _places_of(result: Any, known: list[Any]) -> dict[str, Operand]:
    found = {}
    for name, t in _tensors_by_name(result, known).items():
        x, root = t._array, root_of(t._array)
        place = root.ctypes.data, root.nbytes
        found[name] = Operand(x.ctypes.data, x.shape, x.strides, x.dtype, place, x.copy())
    return found


def _without_python(compiled: Any, step: Any, args: Any) -> Any:
    """A call that has to be a replay: the step's own code does not run."""
    code, entered = getattr(step, "__code__", None), []
    before = sys.gettrace()  # a recording sets the profile function
    sys.settrace(lambda frame, event, _: entered.append(1) if frame.f_code is code else None)
    try:
        result = compiled(*args)
    finally:
        sys.settrace(before)
    if entered:
        raise NotReplayed("the step runs again in place of a replay")
    return result


def _tensors(x: Any) -> list[Any]:
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, (list, tuple)):
        return [t for item in x for t in _tensors(item)]
    return [x] if isinstance(x, (rv.Tensor, np.ndarray)) else []


def _arrays(args: Any) -> list[Array]:
    return [x if isinstance(x, np.ndarray) else x._array for x in _tensors(args)]


def _leaves() -> list[Any]:
    """The tensors that may have gradients."""
    found = [t for t in gc.get_objects() if isinstance(t, rv.Tensor)]
    return [t for t in found if t._grad_fn is None and (t._requires_grad or t._grad is not None)]


def _raw(root: Array) -> Array:
    """The memory of an array, in whatever order its elements lie there."""
    return np.frombuffer((c_uint8 * root.nbytes).from_address(root.ctypes.data), np.uint8)


def content(root: Array) -> Array:
    return _raw(root).copy()
