"""Runs the model that `export` writes: traced runs at several sizes of the dynamic axes, and plain runs.

The traced runs give the calls that are written; from the differences between them the writer learns what
depends on sizes or values. The file's graph is compared with the results of the plain runs.
"""

from __future__ import annotations

import dis
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import ranvier.nn as nn
from ranvier.autograd import Tensor, no_grad, wrap
from ranvier.extension import belongs_to
from ranvier.nn import Module
from ranvier.nn.modes import evaluating, mode_kept, require_untrained
from ranvier.observe import package
from ranvier.onnx.dims import Dim, Dims
from ranvier.onnx.kept import require_no_first_size, state_of
from ranvier.onnx.site import equal_calls
from ranvier.onnx.sizes import Size, size_of_axis
from ranvier.onnx.symbols import concrete, followed, has_size, recording
from ranvier.onnx.tracing import ARITHMETIC, Trace
from ranvier.onnx.values import number_of
from ranvier.tape.calls import Call, Refused
from ranvier.tape.variations import FAILURES, accepted, other_values

Array = np.ndarray[Any, Any]
Axes = dict[int, dict[int, str]]  # for each input: axis -> name


class Run(NamedTuple):
    """One run of the model.

    outputs: for each result its `tracing.Value` (None in a plain run) and its array. weights: the parameters
    and buffers by name. buffers: the names of those that are no parameters.
    """

    trace: Trace
    inputs: list[Array]
    outputs: list[Any]
    weights: dict[str, Array]
    buffers: set[str]


class Modules:
    """Finds the modules that a function calls, puts them in evaluation mode and names their parameters.

    roots: prefix of the names of parameters -> module. It is "" for the model, or for the first module that
    an exported function calls.
    """

    def __init__(self, target: Any, opset: int) -> None:
        self.opset = opset
        self.trace = Trace()  # of the last traced run
        self.root = target if isinstance(target, nn.Module) else None
        self.roots: dict[str, nn.Module] = {} if self.root is None else {"": self.root}

    def enter(self, trace: Trace, module: nn.Module, modes: ExitStack) -> None:
        """Is called before each call of a module; modes restores the module's mode after the run."""
        is_registered = any(module is one for root in self.roots.values() for one in root.modules())
        if not is_registered:
            if not self.roots:
                prefix = ""
            else:
                prefix = f"{type(module).__name__.lower()}{len(self.roots)}"
            self.roots[prefix] = module
        if module.training:
            require_untrained(module, "onnx.export")
            modes.enter_context(mode_kept(module))
            module.eval()
        if not is_registered:
            self.register(trace)

    def all(self) -> list[nn.Module]:
        """The modules that are known."""
        return [*{one: None for root in self.roots.values() for one in root.modules()}]

    def weights(self) -> set[str]:
        """The names of the parameters that have a shape."""
        names = set()
        for prefix, root in self.roots.items():
            for name, parameter in root.named_parameters(prefix):
                with suppress(Exception):  # that of a lazy layer raises
                    names.add(f"{name} {parameter.shape}")
        return names

    def forget_symbols(self) -> None:
        """Puts numbers in the place of sizes that modules have kept in their attributes."""
        for root in self.roots.values():
            for module in root.modules():
                kept = {name: value for name, value in vars(module).items() if has_size(value)}
                for name, value in kept.items():
                    vars(module)[name] = concrete(value)

    def register(self, trace: Trace) -> tuple[dict[str, Array], set[str]]:
        """Names parameters and buffers in the trace; returns the new names, and which are buffers."""
        weights: dict[str, Array] = {}
        buffers = set()
        for prefix, root in self.roots.items():
            for name, tensor in (*root.named_parameters(prefix), *root.named_buffers(prefix)):
                if trace.find(tensor._array) is None:
                    trace.name(tensor, name, False)
                    weights[name] = tensor._array
                    if not isinstance(tensor, nn.Parameter):
                        buffers.add(name)
        return weights, buffers


def run(
    target: Any,
    modules: Modules,
    example: Any,
    arrays: list[Array],
    axes: Axes,
    answers: Sequence[bool] = (),
) -> Run:
    """One traced run.

    example: the arguments of the model, whose tensors and arrays are replaced by `arrays`. axes: the dynamic
    axes, whose sizes are symbols in the run. answers: to the first conditions on sizes.
    """
    with ExitStack() as block:
        trace = Trace(lambda module: modules.enter(trace, module, block), modules.opset)
        trace.answers = list(answers)
        modules.trace = trace
        tensors = [wrap(np.array(a)) for a in arrays]
        for i, dims in enumerate(_symbols(trace, arrays, axes)):
            trace.name(tensors[i], f"input {i}", dims=dims)
        modules.register(trace)
        block.enter_context(no_grad())
        block.enter_context(trace)
        if axes:
            parts = [part for root in modules.roots.values() for part in root.modules()]
            block.enter_context(recording(target, parts))
            block.enter_context(followed(trace))
        result = target(*filled(example, iter(tensors)))
    modules.forget_symbols()
    weights, buffers = modules.register(Trace())
    outputs = [(trace.operand(t), np.array(t._array)) for t in flat(result, "result")]
    return Run(trace, arrays, outputs, weights, buffers)


def _symbols(trace: Trace, arrays: list[Array], axes: Axes) -> list[Dims]:
    """The shapes of the inputs, in which the size of a dynamic axis is a symbol."""
    found: dict[str, Size] = {}
    shapes = []
    for i, array in enumerate(arrays):
        dims: list[Dim] = list(array.shape)
        for at, name in axes.get(i, {}).items():
            if name not in found:
                found[name] = size_of_axis(trace, f"input {i}", at, 1, array.shape[at], name)
            dims[at] = found[name]
        shapes.append(tuple(dims))
    return shapes


def plain_run(target: Any, modules: Modules, example: Any, arrays: list[Array]) -> Run:
    """A run that is not traced, with whose results the graph is compared. Arguments as of `run`."""
    with no_grad(), ExitStack() as modes:
        for root in modules.roots.values():
            modes.enter_context(evaluating(root))
        result = target(*filled(example, iter([wrap(np.array(a)) for a in arrays])))
        outputs = [(None, np.array(t._array)) for t in flat(result, "result")]
    return Run(Trace(), arrays, outputs, {}, set())


def leaves(form: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What nested tuples, lists and dicts hold, each with a name made of `name` and its keys: "x_0"."""
    if isinstance(form, (tuple, list, dict)):
        items = form.items() if isinstance(form, dict) else enumerate(form)
        for key, item in items:
            yield from leaves(item, f"{name}_{key}")
    else:
        yield name, form


def flat(value: Any, what: str) -> Iterator[Tensor]:
    """The Tensors of nested tuples, lists and dicts; TypeError for another object except None."""
    for _, leaf in leaves(value):
        if isinstance(leaf, Tensor):
            yield leaf
        elif leaf is not None:
            raise TypeError(f"[onnx.export] got a {what} of type {type(leaf).__name__}; expected tensors")


def filled(form: Any, tensors: Iterator[Tensor]) -> Any:
    """The form with tensors in the places of its tensors and arrays."""
    if isinstance(form, (Tensor, np.ndarray)):
        return next(tensors)
    if isinstance(form, (tuple, list)):
        items = [filled(item, tensors) for item in form]
        if type(form) in (tuple, list):
            return type(form)(items)
        return type(form)(*items)
    if isinstance(form, dict):
        return {key: filled(item, tensors) for key, item in form.items()}
    return form


def extreme_values(array: Array, wide: Array, seed: int) -> Array:
    """Unusual values of the shape of `array`; wide: values of this shape with a wide range.

    seed 0: zeros. 1: the largest number of `wide` everywhere. 2: no positive numbers (integers: unchanged).
    """
    if seed == 2:
        if array.dtype.kind == "f":
            return -np.abs(wide)
        return array
    return np.full_like(array, wide.max(initial=0) if seed else 0)


def resized(array: Array, sizes: dict[int, int]) -> Array:
    """The array with other sizes of some axes; its slices are repeated, or left out."""
    for axis, size in sizes.items():
        array = np.take(array, np.arange(size) % max(array.shape[axis], 1), axis)
    return array


class Runs(NamedTuple):
    """The runs of a model.

    traced: at several sizes; the first two have the sizes of the example. plain: runs to compare with, at
    sizes near and far.
    """

    traced: list[Run]
    plain: list[Run]


def all_runs(
    target: Any, modules: Modules, args: Any, arrays: list[Any], axes: Axes, symbols: list[str]
) -> Runs:
    """The runs of a model. args: the example; arrays: its tensors; symbols: the names of the dynamic axes.

    The traced runs tell whether a constant depends on sizes or values. The plain runs are a check of what is
    written: axes of size 1, sizes near the example's and primes up to eight times as large, and values of any
    sign, of one sign, and zeros.
    """
    inputs = _Inputs(arrays, axes)
    base = {symbol: inputs.size_of(symbol) for symbol in symbols}
    near = [0] * len(arrays)
    example = inputs.of(base, 0, near)

    def traced(values: list[Array], answers: Sequence[bool] = ()) -> Run:
        return run(target, modules, args, values, axes, answers)

    def plain(values: list[Array]) -> Run:
        return plain_run(target, modules, args, values)

    def arrays_at(values: list[Array]) -> list[Array]:
        return [array for _, array in plain(values).outputs]

    before = state_of(modules.all())
    weights = modules.weights()
    works = False
    with suppress(Exception):  # the run below raises it again, or the model has now what it lacked
        # A model may make a mask or a table at its first call, and keep it: the runs to write come after it.
        run(target, modules, args, example, {})
        works = True
    if axes:
        others = [inputs.of(sizes, 3, near) for sizes in _first_sizes(base)]
        is_lazy = weights != modules.weights()
        require_no_first_size(before, is_lazy, [partial(arrays_at, one) for one in others])
    try:
        first = _settled(modules, partial(traced, example))
    except Exception as error:
        if not works or not axes or str(error).startswith("[onnx.export]"):
            raise
        raise _with_symbols(error) from error
    further = [plain(example)]
    widths = accepted(lambda tried: plain(inputs.of(base, 5, tried)), near)

    def at(sizes: dict[str, int], seed: int) -> Run:
        try:
            return traced(inputs.of(sizes, seed, widths))
        except FAILURES:
            return traced(inputs.of(sizes, seed, near))

    runs = [first]
    plans = _traced_sizes(base)
    for number, sizes in enumerate(plans, 1):
        other, taken = _attempt(partial(at, seed=100 * number), sizes, base)
        _require_same_operations(first, other, "with other values" if taken == base else f"of sizes {taken}")
        runs.append(other)

    wide = [inputs.of(sizes, 10 + i, widths) for i, sizes in enumerate([base, base, plans[-1]])]
    extremes = [[extreme_values(a, w, seed) for a, w in zip(*wide[:2], strict=True)] for seed in range(3)]
    compared = _compared_sizes(base, arrays, first.trace.least_sizes)
    others = [inputs.of(sizes, 7, near) for sizes in compared]
    further += _accepted(plain, [*others, *wide, *extremes])
    return Runs(runs, further)


class _Inputs(NamedTuple):
    """Makes inputs from those of the example."""

    arrays: list[Any]
    axes: Axes

    def size_of(self, symbol: str) -> int:
        """The size of a dynamic axis in the example."""
        found = [
            self.arrays[i].shape[at]
            for i, of in self.axes.items()
            for at, name in of.items()
            if name == symbol
        ]
        return int(found[0])

    def of(self, sizes: dict[str, int], seed: int, widths: list[int]) -> list[Array]:
        """Inputs of these sizes: the example's values for seed 0, else others (`other_values`)."""
        made = []
        for i, array in enumerate(self.arrays):
            named = self.axes.get(i, {})
            value = resized(array, {at: sizes[name] for at, name in named.items()})
            made.append(other_values(value, seed + i, widths[i]) if seed else value)
        return made


def _first_sizes(base: dict[str, int]) -> list[dict[str, int]]:
    """Sizes at which results are compared after another first call: each axis alone, shorter and longer."""
    return [{**base, symbol: size} for symbol, n in base.items() for size in (max(n - 1, 1), 2 * n + 3)]


def _traced_sizes(base: dict[str, int]) -> list[dict[str, int]]:
    """The sizes of the traced runs after the first one. base: those of the example.

    They are the example's (with other values), each axis alone enlarged by two numbers, and all axes enlarged
    by different numbers.
    """
    plans = [base]
    for symbol, n in base.items():
        plans += [{**base, symbol: n + 1}, {**base, symbol: 2 * n + 3}]
    if len(base) > 1:
        plans.append({symbol: n + 2 + i for i, (symbol, n) in enumerate(base.items())})
    return plans


def _require_same_operations(first: Run, other: Run, what: str) -> None:
    """Raise ValueError unless two runs make calls of the same kinds. what: the inputs of the other run."""
    if [call.kind for call in other.trace.calls] == [call.kind for call in first.trace.calls]:
        return
    call = _first_other(first.trace.calls, other.trace.calls)
    raise ValueError(
        f"[onnx.export] the model computes other operations for inputs {what}, from {call.kind} at "
        f"{call.where} on; expected the same: a graph has no branches that depend on them"
    )


def _first_other(calls: list[Call], others: list[Call]) -> Call:
    """The first call that a run makes and the other does not."""
    for call, other in zip(calls, others, strict=False):
        if call.kind != other.kind:
            return call
    longer = calls if len(calls) > len(others) else others
    return longer[min(len(calls), len(others))]


_MOST_ELEMENTS = 2**22  # of an input in a comparison at a far size


def _compared_sizes(base: dict[str, int], arrays: list[Array], least: int) -> list[dict[str, int]]:
    """Sizes at which the file is compared. base: those of the example. least: all sizes up to this one."""
    elements = max(array.size for array in arrays)
    plans = []
    for symbol, n in base.items():
        near = {1, *range(max(n - 2, 1), n + 5), *range(1, least + 1)}
        far = {_prime(times * n) for times in (2, 4, 8) if elements * times * 2 < _MOST_ELEMENTS}
        plans += [{**base, symbol: size} for size in sorted(near | far)]
    if len(base) > 1:
        plans.append(dict.fromkeys(base, 1))
    if len(base) > 1 and elements * 3 ** len(base) < _MOST_ELEMENTS:
        plans.append({symbol: _prime(2 * n + i) for i, (symbol, n) in enumerate(base.items())})
    return plans


def _prime(n: int) -> int:
    """The least prime that is greater than n."""
    n += 1
    while n < 2 or any(n % divisor == 0 for divisor in range(2, int(n**0.5) + 1)):
        n += 1
    return n


def _settled(modules: Modules, once: Callable[[Sequence[bool]], Run]) -> Run:
    """The run once(()), in which no condition on sizes changes what is computed.

    The model runs again with each other answer. It may raise an error of its own, so that sizes with this
    answer are refused by the model, or compute the same.
    """
    first = once(())
    conditions = first.trace.conditions
    for i, condition in enumerate(conditions):
        answers = [one.answer for one in conditions[:i]]
        try:
            other = once([*answers, not condition.answer])
        except Exception as error:
            is_settled = _is_own(error, modules.trace) and len(modules.trace.conditions) == i + 1
        else:
            rest = [one.text for one in other.trace.conditions[i + 1 :]]
            asks_the_same = rest == [one.text for one in conditions[i + 1 :]]
            is_settled = asks_the_same and not other.trace.taken and _computes_the_same(first, other)
        if not is_settled:
            raise ValueError(
                f"[onnx.export] {condition.where} depends on the condition {condition.text}, which holds for "
                "some sizes of a dynamic axis and not for others; expected the same operations for all "
                "sizes, or an axis that is static: leave it out of dynamic_axes"
            )
    return first


def _with_symbols(error: Exception) -> ValueError:
    """The error of a model that fails where sizes are symbols, and not where they are numbers."""
    return ValueError(
        f"[onnx.export] the model at {_line(error)} takes no symbol for the size of a dynamic axis "
        f"({type(error).__name__}: {error}); expected {ARITHMETIC} that goes to functions of the library, or "
        "an axis that is static: leave it out of dynamic_axes"
    )


_PYTHON = os.path.dirname(os.__file__)


def _line(error: Exception) -> str:
    """File and line of the model where an error was raised."""
    found = "an unknown line"
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith((package(), _PYTHON)) and "-packages" not in file:
            found = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def _computes_the_same(first: Run, other: Run) -> bool:
    return equal_calls(first.trace.calls, other.trace.calls) and _same_results(first, other)


def _same_results(a: Run, b: Run) -> bool:
    """True if two runs with equal calls return the same values, or equal constants."""
    if len(a.outputs) != len(b.outputs):
        return False
    pairs = zip(a.outputs, b.outputs, strict=True)
    return all(
        one.name == other.name and np.array_equal(array, wanted) for (one, array), (other, wanted) in pairs
    )


_RAISE = dis.opmap["RAISE_VARARGS"]


def _is_own(error: Exception, trace: Trace) -> bool:
    """True for an error that a `raise` or `assert` of the model raises, whatever the size.

    The sizes of the run contradict the answer. So the error must not follow from another error, such as that
    of a reshape, nor from a number of a size, except for one that its text holds.
    """
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or isinstance(error, Refused) or trace.failure:
        return False
    code = last.tb_frame.f_code
    if code.co_filename.startswith(package()) or code.co_code[last.tb_lasti] != _RAISE:
        return False
    return all(number in str(error) for number in trace.taken)


def _accepted(plain: Callable[[list[Array]], Run], inputs: list[list[Array]]) -> list[Run]:
    """Runs with these inputs, without those that the model refuses."""
    runs = []
    for values in inputs:
        with suppress(*FAILURES, AssertionError):
            runs.append(plain(values))
    return runs


def _attempt(once: Any, sizes: dict[str, int], base: dict[str, int]) -> tuple[Run, dict[str, int]]:
    """The run once(sizes), and the sizes it had.

    If the model refuses them, sizes nearer to the example's (base) are tried, then sizes below them, then
    twice the example's.
    """
    nearer = {s: min(n, base[s] + 3) for s, n in sizes.items()}
    less = {s: max(1, 2 * base[s] - n) for s, n in nearer.items()}
    # A model may take multiples alone, such as images of even sides.
    doubled = {s: n if n == base[s] else 2 * base[s] for s, n in sizes.items()}
    failure: Any = None
    for choice in (sizes, *(one for one in (nearer, less, doubled) if one not in (sizes, base))):
        try:
            return once(choice), choice
        except (*FAILURES, AssertionError) as error:
            failure = failure or error
    if sizes != base:
        what = f"of sizes {sizes}"
    else:
        what = "with other values"
    if isinstance(failure, Refused):
        raise failure
    raise ValueError(
        f"[onnx.export] the model at {_line(failure)} fails for inputs {what}: {failure}; expected one that "
        "takes other sizes: axes that must be equal have one name in dynamic_axes, others are left out of it"
    ) from failure


def inputs_of(target: Any, args: tuple[Any, ...], wanted: Any) -> tuple[list[str], list[Any]]:
    """The names and the arrays of the graph's inputs: all tensors and arrays in args. wanted: input_names."""
    forward = target.forward if isinstance(target, Module) else target
    try:
        parameters = list(inspect.signature(forward).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    usual = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if usual[:1] == ["input"] and belongs_to(forward.__module__, "ranvier.nn") and "hx" not in usual:
        usual[0] = "x"  # the one input of a layer; a recurrent layer has input and hx
    names = []
    arrays = []
    for i, arg in enumerate(args):
        for name, leaf in leaves(arg, usual[i] if i < len(usual) else f"input_{i}"):
            if isinstance(leaf, (Tensor, np.ndarray)):
                names.append(name)
                arrays.append(leaf._array if isinstance(leaf, Tensor) else leaf)
    if not arrays:
        kinds = ", ".join(type(arg).__name__ for arg in args)
        raise TypeError(
            f"[onnx.export] got no tensor among args ({kinds}); expected the example inputs as NumPy arrays "
            "or Tensors"
        )
    if wanted is not None:
        names = _names("input_names", wanted, len(names))
    for array in arrays:
        number_of(array.dtype)
    return names, arrays


def _names(what: str, wanted: Any, count: int) -> list[str]:
    names = list(wanted)
    if len(names) != count or len({*names}) < count or not all(isinstance(n, str) and n for n in names):
        raise ValueError(f"[onnx.export] got {what} {names}; expected {count} different names")
    return names


def outputs_of(count: int, wanted: Any) -> list[str]:
    """The names of the results; wanted: output_names of `export`."""
    if not count:
        raise ValueError("[onnx.export] got a model without results; expected a tensor, or several")
    if wanted is not None:
        return _names("output_names", wanted, count)
    if count == 1:
        return ["output"]
    return [f"output_{i}" for i in range(count)]


def dynamic(
    names: list[str], arrays: list[Any], dynamic_axes: Mapping[str, Any] | None, outputs: Sequence[str]
) -> tuple[Axes, list[str]]:
    """The dynamic axes of each input with their symbols (names), and all symbols.

    names, arrays: the names and the arrays of the inputs. outputs: the names of results, whose entries in
    dynamic_axes are ignored.
    """
    axes: Axes = {}
    symbols: dict[str, int] = {}
    if dynamic_axes is not None and not isinstance(dynamic_axes, Mapping):
        raise TypeError(f"[onnx.export] got dynamic_axes {dynamic_axes!r}; expected a dict, {{'x': [0]}}")
    for name, chosen in (dynamic_axes or {}).items():
        if name not in names:
            if name in outputs or name.startswith("output"):  # sizes of results follow from the model
                continue
            raise ValueError(
                f"[onnx.export] got dynamic_axes of '{name}'; expected the inputs {', '.join(names)}"
            )
        i = names.index(name)
        if isinstance(chosen, Mapping):
            symbol_of = dict(chosen)
        else:
            symbol_of = {a: f"{name}_{a}" for a in chosen}
        ndim = arrays[i].ndim
        for axis, symbol in symbol_of.items():
            if isinstance(axis, bool) or not isinstance(axis, int) or not -ndim <= axis < ndim:
                raise ValueError(
                    f"[onnx.export] got dynamic axis {axis!r} of '{name}', which has {ndim} dimensions"
                )
            symbol = str(symbol)
            size = arrays[i].shape[axis]
            if symbols.setdefault(symbol, size) != size:
                raise ValueError(
                    f"[onnx.export] got sizes {symbols[symbol]} and {size} of the axis '{symbol}'"
                )
            axes.setdefault(i, {})[axis % ndim] = symbol
    return axes, list(symbols)
