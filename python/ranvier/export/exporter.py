"""`rv.export.c`: runs a model or a training step (`capture.py`), and writes its calls as C99.

A second run with other values must give the same text, so that a dependence on the values is found.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import numpy as np

import ranvier.export.layers
import ranvier.export.norms
import ranvier.export.quantized
import ranvier.export.shapes  # noqa: F401  # fill the table
from ranvier.autograd import Tensor, wrap
from ranvier.compile import CompiledFunction
from ranvier.compile.compiled_model import module_of
from ranvier.export.c_source import argument_name, code_size, files, same_text
from ranvier.export.capture import Capture, captured
from ranvier.export.file_arrays import FileArrays, Values, identifier
from ranvier.export.instructions import CArray, Report, Routine, Value
from ranvier.export.int8 import Quantized, ranges_of, with_folded_norms
from ranvier.export.operations import ONE, RULES, Site
from ranvier.export.update import updates
from ranvier.nn import Module
from ranvier.nn.modes import evaluating
from ranvier.ops.table import COMPARISONS
from ranvier.serialization.files import replace_together
from ranvier.tape.calls import Call, Refused
from ranvier.tape.variations import accepted, other_values
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.memory import Array
from ranvier.tensors.reading import path_of

# Functions that take integers (indices), and those that also take bools.
_OF_INTEGERS = {"Embedding", "CrossEntropy", "Nll", "Reshape", "Getitem", "Permute", "Expand", "Flip"}
_OF_INTEGERS |= {"QuantizedLinear", "QuantizedRows", "QuantizedRecurrent"}
_OF_BOOLS = {*_OF_INTEGERS, *COMPARISONS, *(f"{name}_number" for name in COMPARISONS)}
_OF_BOOLS |= {"isfinite", "isinf", "isnan", "Where", "MaskedFill", "Cast", "Concatenate"}
_OF_BOOLS |= {f"bitwise_{name}" for name in ("and", "or", "xor", "not")}
# Functions whose backward rule takes ONE, the gradient 1 of the loss itself.
_LOSSES = {"Mse", "L1", "SmoothL1", "Huber", "BceWithLogits", "CrossEntropy", "Nll"}


def c(
    target: Any,
    path: Any,
    example: Any,
    *,
    predict: tuple[Any, Any] | None = None,
    name: str | None = None,
    separate_weights: bool = False,
    calibration: Any = None,
) -> Report:
    """Writes a model, or a training step, as one C99 file and its header.

    target: a module, which becomes the function ``<name>_predict(x, y)`` with its weights as constants; or a
    step, compiled or not: a function that calls zero_grad, forward, loss, backward and the update of an SGD,
    Adam or AdamW. It becomes ``<name>_step(x, target)``, which makes one update in C and returns the loss.
    example: the input, or a tuple of the inputs. The C function takes inputs of these shapes, with the batch;
    the values do not matter. path: the path of the file, which ends in ``.c``. predict: with a step, (model,
    example) of a ``<name>_predict`` that uses the weights of the step. name: the name of the functions, by
    default that of the file. separate_weights: the weights are written to a file of their own,
    ``<name>_weights.c``.
    calibration: typical inputs, or a tuple of them, some hundred rows: linear layers and convolutions of a
    prediction are then computed in int8, with scales for the values that these rows give.

    Arguments and results are float32, class indices int32. Images are (N, C, H, W) as in Python. No
    parameter, gradient or running statistic is changed here. docs/export.md lists what is supported.

    Raises:
        ValueError: an operation that has no counterpart, with the name of its layer; sizes of 0; an operation
            that the library does not record; a path that does not end in .c; calibration with a step, or with
            fewer rows than the example.
        TypeError: another dtype than float32 and integers; a target that cannot be called.

    >>> import tempfile, ranvier as rv
    >>> model = rv.nn.Sequential(rv.nn.Linear(4, 8), rv.nn.ReLU(), rv.nn.Linear(8, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = rv.export.c(model, f"{folder}/net.c", rv.zeros(1, 4))
    >>> report.functions, report.weights, report.ram
    (('net_predict',), 232, 32)
    """
    path = path_of("export.c", "path", path, "a file that ends in .c: c(model, path, example)")
    if path.suffix != ".c" or set(path.stem) & set('"\\\n\r'):
        raise ValueError(
            f"[export.c] got path {str(path)!r}; expected a name that ends in .c and fits in an #include"
        )
    name = identifier(name or path.stem, set())
    parts = [(target, example)]
    if predict is not None:
        parts.append(predict)
    captures = [_capture(one, inputs) for one, inputs in parts]
    first = captures[0]
    if predict is not None and (first.loss is None or captures[1].loss is not None):
        raise ValueError("[export.c] got predict; expected it with a step, and in it (model, example)")
    # a file of its own has the names of weights outside: two networks may be in one program
    prefix = f"{name}_w_" if separate_weights else "w_"
    others = [_with_other_values(one, capture) for (one, _), capture in zip(parts, captures, strict=True)]
    if calibration is None:
        ranges = None
    else:
        ranges = _ranges(target, first, calibration)
    names = _named(captures)
    written = _instructions(name, parts, captures, names, prefix, None)
    if not same_text(name, written, _instructions(name, parts, others, _named(others), prefix, None)):
        raise ValueError(
            "[export.c] the model computes other operations, or with other numbers, for inputs with other "
            "values; expected one that draws nothing, and reads its inputs by operations on tensors alone"
        )
    if ranges is not None:
        written = _instructions(name, parts, captures, names, prefix, ranges)
    memory, routines, plans = written
    ram = max(n for n, _ in plans)
    apart = max(n for _, n in plans)
    separate = f"{path.stem}_weights.c" if separate_weights else None
    texts = files(name, path.stem, routines, memory, ram, separate)
    replace_together({path.with_name(file): text.encode() for file, text in texts.items()}, "export.c")
    names_of = tuple(r.name for r in routines)
    counts = tuple(r.multiplications for r in routines)
    constant, state = (memory.bytes(kind) for kind in ("constant", "state"))
    sizes = constant, state, state + 4 * ram, 4 * apart, code_size(routines)
    return Report(str(path), names_of, *sizes, counts)


# --- what runs


def _capture(target: Any, example: Any) -> Capture:
    target = module_of(target)
    while isinstance(target, CompiledFunction):
        target = target._function
    if not callable(target):
        raise TypeError(f"[export.c] got {type(target).__name__}; expected a module or a function")
    refuse_torch("export.c", "a model", target)
    if isinstance(example, (tuple, list)):
        examples = example
    else:
        examples = (example,)
    arrays = [_array(x) for x in examples]
    with _evaluating(target):
        return captured(target, [wrap(a) for a in arrays], _roots(target))


def _with_other_values(target: Any, first: Capture) -> Capture:
    """A capture with other input values, as different from the first ones as the target accepts."""
    arrays = [x._array for x in first.arguments]

    def run(widths: list[int]) -> Capture:
        values = []
        for i, (array, width) in enumerate(zip(arrays, widths, strict=True), 1):
            values.append(other_values(array, i, width))
        return _capture(target, values)

    def attempt(widths: list[int]) -> None:
        with suppress(Refused):  # the run below raises it
            run(widths)

    return run(accepted(attempt, [0] * len(arrays)))


def _array(x: Any) -> Any:
    """A copy of an example as float32 or integers."""
    array = np.array(getattr(x, "_array", x), order="C")
    if array.dtype.kind == "f" and array.dtype != np.float32 and not hasattr(x, "dtype"):
        array = array.astype(np.float32)  # Python floats
    if array.dtype != np.float32 and array.dtype.kind not in "iu":
        raise TypeError(f"[export.c] got an example of {array.dtype}; expected float32 or integers")
    if array.size == 0:
        raise ValueError(f"[export.c] got an example of shape {array.shape}; expected sizes from 1 on")
    return array


def _ranges(target: Any, capture: Capture, calibration: Any) -> Any:
    """The ranges of all values over the calibration data, in batches of the example's size."""
    arguments = capture.arguments
    if isinstance(calibration, (tuple, list)):
        inputs = calibration
    else:
        inputs = (calibration,)
    arrays = [np.asarray(getattr(x, "_array", x)) for x in inputs]
    rows = arguments[0].shape[0] if arguments[0].ndim else 1
    shapes = [(a.shape[1:], x.shape[1:]) for a, x in zip(arrays, arguments, strict=False)]
    if capture.loss is not None or len(arrays) != len(arguments) or any(a != b for a, b in shapes):
        raise ValueError(
            f"[export.c] got calibration data {[a.shape for a in arrays]}; expected it with a prediction, as "
            f"many inputs as the example, and rows like those of {[tuple(x.shape) for x in arguments]}"
        )
    if len(arrays[0]) < rows:
        raise ValueError(f"[export.c] got {len(arrays[0])} rows of calibration; expected {rows} or more")
    with _evaluating(target):
        return ranges_of(target, capture, _batches(arrays, arguments, rows))


def _batches(arrays: list[Array], arguments: list[Tensor], rows: int) -> Iterator[list[Tensor]]:
    """The calibration data in batches of so many rows, in the dtypes of the arguments."""
    for start in range(0, len(arrays[0]) - rows + 1, rows):
        batch = []
        for array, x in zip(arrays, arguments, strict=True):
            batch.append(wrap(np.array(array[start : start + rows], x.dtype, order="C")))
        yield batch


def _evaluating(target: Any) -> AbstractContextManager[Any]:
    """A block in which a module is in evaluation mode; a function is called as it is."""
    if isinstance(target, Module):
        return evaluating(target, "export.c")
    return nullcontext()


def _roots(target: Any) -> dict[str, Module]:
    """The modules that a target uses, by the names of its variables; "" if there is only one."""
    if isinstance(target, Module):
        return {"": target}
    function = inspect.unwrap(getattr(target, "__func__", target))
    held: dict[str, Any] = {}
    if inspect.isfunction(function):
        variables = inspect.getclosurevars(function)
        held = {**variables.globals, **variables.nonlocals}
    owner = getattr(target, "__self__", None)
    if hasattr(owner, "__dict__"):
        held |= vars(owner)
    modules: dict[str, Module] = {}
    for name, value in held.items():
        module = module_of(value)
        if isinstance(module, Module):
            modules[name] = module
    if len(modules) == 1:
        return {"": next(iter(modules.values()))}
    return modules


def _names(roots: dict[str, Module]) -> dict[int, str]:
    """id of the array of each parameter and buffer -> its name."""
    names: dict[int, str] = {}
    for prefix, root in roots.items():
        for name, tensor in (*root.named_parameters(prefix), *root.named_buffers(prefix)):
            names.setdefault(id(tensor._array), name)
    return names


def _named(captures: list[Capture]) -> dict[int, str]:
    """The names of all arrays. Also folds batch norms of a prediction into weights: its calls change."""
    names: dict[int, str] = {}
    for capture in captures:
        names.update(_names(capture.roots))
    if captures[0].loss is None:
        captures[0].calls = with_folded_norms(captures[0], names)
    return names


def _learned(capture: Capture) -> set[int]:
    """Ids of the arrays that a step changes: trained parameters, running statistics."""
    if capture.loss is None:
        return set()
    learned: set[int] = set()
    for optimizer in capture.optimizers:
        for group in optimizer.param_groups:
            learned.update(id(p._array) for p in group["params"] if p.requires_grad)
    for call in capture.calls:
        if call.kind == "BatchNorm" and call.settings["training"]:
            learned.update(id(r) for r in call.settings["running"][:2] if r is not None)
    return learned


# --- calls as instructions


def _instructions(
    name: str, parts: Any, captures: list[Capture], names: dict[int, str], prefix: str, ranges: Any
) -> Any:
    """The arrays of the file, its functions, and for each function the words of memory that `planned`
    returns.

    parts: (target, example) of each function. ranges: the ranges of the values, for int8, or None.
    """
    memory = FileArrays(names, _learned(captures[0]), prefix)
    pairs = zip(captures, parts, strict=True)
    routines = [_routine(name, capture, memory, one, ranges) for capture, (one, _) in pairs]
    memory.keep(routines)
    return memory, routines, [routine.planned() for routine in routines]


def _routine(name: str, capture: Capture, memory: FileArrays, target: Any, ranges: Any) -> Routine:
    """The C function of a capture; target: for the names of its arguments."""
    is_step = capture.loss is not None
    suffix = "step" if is_step else "predict"
    routine = Routine(f"{name}_{suffix}")
    values = Values(memory)
    taken: set[str] = set()
    arguments = capture.arguments
    for x, text in zip(arguments, _argument_names(target, len(arguments)), strict=True):
        array = x._array
        text = argument_name(text, taken)
        c_type = "int32_t" if array.dtype.kind in "iu" else "float"
        value = Value(CArray(text, array.size, "argument", type=c_type), array.shape)
        values.made[id(array)] = value
        routine.arguments.append((text, value, False))
    trained = memory.learned if is_step else set()
    if ranges is None:
        quantized = None
    else:
        quantized = Quantized(routine, capture, ranges)
    sites = _forward(routine, capture, values, trained, quantized)
    if is_step:
        gradients = _backward(routine, capture, sites, trained)
        if not capture.optimizers or not capture.cleared:
            raise ValueError(
                "[export.c] got a step without zero_grad or without optimizer.step; expected both"
            )
        updates(routine, memory, capture.optimizers, gradients)
    _results(routine, capture, values, taken)
    routine.without_unused()
    routine.without_copies()
    return routine


def _argument_names(target: Any, count: int) -> list[str]:
    """The names of the target's parameters; x, or x0, x1 ..., where it has no suitable names."""
    function = target.forward if isinstance(target, Module) else target
    try:
        # kinds 0 and 1: positional parameters
        names = [p.name for p in inspect.signature(function).parameters.values() if p.kind in (0, 1)]
    except (TypeError, ValueError):
        names = []
    if len(names) < count or (count == 1 and names[0] == "input"):
        names = ["x"] if count == 1 else [f"x{i}" for i in range(count)]
    return names[:count]


def _forward(
    routine: Routine, capture: Capture, values: Values, trained: set[int], quantized: Quantized | None
) -> list[Site]:
    """Adds the instructions of the forward pass; the sites of its calls, for the backward pass."""
    sites = []
    needing = set(trained)  # ids of arrays that need a gradient
    layer = ""
    for call in capture.calls:
        _require(call)
        in_int8 = quantized is not None and quantized.takes(call, values)
        operands = [None if x is None else values(x) for x in call.inputs]
        needs = [x is not None and id(x) in needing for x in call.inputs]
        site = Site(routine, call, operands, needs)
        site.value_of = values
        site.memory = values.memory
        if call.kind == "BatchNorm" and call.settings["training"] and capture.loss is None:
            raise site.refuse("it takes no running statistics: keep them, and call eval() before")
        text = call.layer or f"{call.kind}, {_file(call.where)}"
        shapes = [" x ".join(map(str, x.shape)) for x in (call.inputs[0], call.outputs[0]) if x is not None]
        routine.comment = "" if text == layer else f"{text}, {' -> '.join(shapes)}"
        layer = text
        if quantized and in_int8:
            made = quantized.forward(site, values)
        else:
            made = RULES[call.kind].forward(site)
        site.outputs = list(made) if isinstance(made, tuple) else [made]
        for array, value in zip(call.outputs, site.outputs, strict=True):
            values.made[id(array)] = value.as_shape(array.shape)
            if any(needs):
                needing.add(id(array))
        sites.append(site)
    routine.comment = ""
    return sites


def _require(call: Call) -> None:
    """Raises TypeError or ValueError for a call that no rule can write, or with a wrong dtype or size."""
    layer = call.layer or call.kind
    for x in (*call.inputs, *call.outputs):
        kinds = "biu" if call.kind in _OF_BOOLS else "iu"
        if x is not None and x.dtype != np.float32 and x.dtype.kind not in kinds and x.ndim:
            raise TypeError(
                f"[export.c] got {layer} at {call.where} in {x.dtype}; expected float32 (model.float())"
            )
        if x is not None and (x.size == 0 or x.size >= 2**31):
            raise ValueError(
                f"[export.c] got {layer} at {call.where} with {x.shape}; expected 1 to 2^31 - 1 elements"
            )
    if call.kind not in _OF_INTEGERS and any(x is not None and x.dtype.kind in "iu" for x in call.inputs):
        raise TypeError(f"[export.c] got {layer} at {call.where} of integers; expected float32")
    if call.kind not in RULES:
        raise ValueError(
            f"[export.c] got {layer} at {call.where}: {call.kind} has no counterpart in C; expected an "
            "operation of docs/export.md"
        )


def _file(where: str) -> str:
    return re.split(r"[\\/]", where)[-1]


def _backward(routine: Routine, capture: Capture, sites: list[Site], trained: set[int]) -> dict[int, Value]:
    """Adds the backward pass. Returns {id of the array of a trained parameter: its gradient}."""
    gradients: dict[int, Any] = {id(capture.loss): ONE}
    for site in reversed(sites):
        dys = [gradients.get(id(x)) for x in site.call.outputs]
        if not any(site.needs) or all(dy is None for dy in dys):
            continue
        layer = site.call.layer or site.call.kind
        routine.comment = f"backward: {layer}"
        if dys[0] is ONE and site.call.kind not in _LOSSES:
            dys = [routine.made("fill", ..., 1, 1.0, shape=site.outputs[0].shape)]
        backward = RULES[site.call.kind].backward
        if backward is None:
            raise site.refuse("it has no backward pass in C")
        for x, dx, need in zip(site.call.inputs, backward(site, *dys), site.needs, strict=False):
            if dx is None or not need:
                continue
            old = gradients.get(id(x))
            if old is not None:
                dx = routine.made("map_add", old, dx, ..., dx.size, shape=dx.shape, replaced=[old, dx])
            gradients[id(x)] = dx
    routine.comment = ""
    return {key: value for key, value in gradients.items() if key in trained}


def _results(routine: Routine, capture: Capture, values: Values, taken: set[str]) -> None:
    """Makes results arguments that the function writes, by copies at its end: a caller may give the array of
    an input, such as a state, for a result. The loss of a step is the value that it returns."""
    outputs = [a for a in capture.outputs if a is not capture.loss]
    if capture.loss is not None and len(outputs) < len(capture.outputs):
        routine.result = values(capture.loss)
    if not outputs and capture.loss is None:
        raise ValueError("[export.c] got a target without results; expected tensors")
    results: list[tuple[str, Value]] = []
    for number, array in enumerate(outputs):
        if array.size == 0:
            raise ValueError(f"[export.c] got a result of shape {array.shape}; expected sizes from 1 on")
        value = values(array)
        if array.dtype != np.float32:
            raise TypeError(f"[export.c] got a result of {array.dtype}; expected float32: float() of it")
        if len(outputs) > 1 and value.buffer.kind == "argument":  # a result before it may lie there
            value = routine.made("copy_all", value, ..., array.size, shape=array.shape)
        text = "y" if len(outputs) == 1 else f"y_{number}"
        text = argument_name(text, taken)
        results.append((text, value.as_shape(array.shape)))
    for text, value in results:
        y = Value(CArray(text, value.size, "argument"), value.shape)
        routine.call("copy_all", value, y, value.size, writes=y)
        routine.arguments.append((text, y, True))
