"""What the functions that write nodes work with.

A `GraphBuilder` collects nodes. A `TracedCall` is one call of a Function, as each traced run of the model has
made it (`model_run.py`). What is equal in all runs is written as a constant, and a size (`sizes.py`) as the
nodes that compute it. What differs otherwise is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial, reduce
from types import ModuleType
from typing import Any

import numpy as np

from ranvier.onnx.dims import Dim, Dims, same_dims, same_size
from ranvier.onnx.registry import BECAME_INPUTS
from ranvier.onnx.sizes import Atom, Real, Size, SymbolicNumber, lower_bound
from ranvier.onnx.tracing import Value
from ranvier.onnx.values import number_of
from ranvier.tape.calls import Call
from ranvier.tensors.types import ArrayLike, DtypeLike, Number

Array = np.ndarray[Any, Any]


class GraphBuilder:
    """Collects the nodes of a graph. Values are named by strings; "" is an input that is left out.

    onnx: the package.
    opset: the version of the operator set.

    `node` takes inputs and attributes as in the newest version, and writes inputs as attributes where the
    older version has them so.
    """

    def __init__(self, onnx: ModuleType, opset: int) -> None:
        self.onnx = onnx
        self.opset = opset
        self.nodes: list[Any] = []
        self.initializers: dict[str, Array] = {}
        self._constants: dict[Any, str] = {}  # dtype, shape and bytes of a constant -> its name
        self._arrays: dict[str, Array] = {}  # name of a constant -> its array
        self._taken: set[str] = set()
        # key of a size or an atom -> the name of the vector that holds it; TracedCall fills it
        self.sizes: dict[str, str] = {}

    def reserve(self, name: str) -> str:
        """The name, or one like it that is not taken yet."""
        free = name
        n = 0
        while free in self._taken:
            n += 1
            free = f"{name}_{n}"
        self._taken.add(free)
        return free

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Adds a node, and returns the name of its result, or a list of names for several outputs.

        Raises ValueError: the version of the operator set does not have the operator.
        """
        if not self.has(op):
            raise ValueError(
                f"[onnx.export] got opset_version {self.opset}, which has no {op}; expected a later version"
            )
        since, names = BECAME_INPUTS.get(op, (0, ()))
        if self.opset < since:
            for attribute, x in zip(names, inputs[1:], strict=False):
                if x:
                    attributes[attribute] = self._arrays[x].tolist()
            inputs = inputs[:1]
        name = self.reserve(op)
        if outputs == 1:
            results = [self.reserve(f"{name}_out")]
        else:
            results = [self.reserve(f"{name}_out_{i}") for i in range(outputs)]
        while inputs and not inputs[-1]:  # inputs that are left out at the end are not written
            inputs = inputs[:-1]
        settings = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), results, name, **settings))
        if outputs == 1:
            return results[0]
        return results

    def has(self, op: str) -> bool:
        """True if the version of the operator set has the operator."""
        return bool(self.onnx.defs.has(op, self.opset))

    def constant(self, value: ArrayLike, dtype: DtypeLike | None = None) -> str:
        """The name of a constant; equal ones are stored once."""
        array = np.ascontiguousarray(np.asarray(value, dtype)).reshape(np.shape(value))
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            name = self.reserve("constant")
            tensor = self.onnx.numpy_helper.from_array(array, name)
            self.nodes.append(self.onnx.helper.make_node("Constant", [], [name], name, value=tensor))
            self._constants[key] = name
            self._arrays[name] = array
        return self._constants[key]

    def weight(self, name: str, value: Array) -> str:
        """The name of an initializer, the given one if it is free; equal ones are stored once."""
        key = (str(value.dtype), value.shape, value.tobytes())
        if key not in self._constants:
            self._constants[key] = name = self.reserve(name)
            self.initializers[name] = value
        return self._constants[key]

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def divided(self, a: str, b: str) -> str:
        """The quotient of whole numbers, rounded towards 0.

        onnxruntime 1.32 computes (1 / b) * c as c / b, of integers, too. So a dividend of 1 is written as
        what is left of it without the rest.
        """
        known = self._arrays.get(a)
        if known is not None and known.size == 1 and known.item() == 1:
            a = self.node("Sub", a, self.node("Mod", a, b, fmod=1))
        return self.node("Div", a, b)

    def floor_divided(self, a: str, b: str) -> str:
        """The quotient of whole numbers, rounded down: Mod has the sign of the divisor."""
        return self.node("Div", self.node("Sub", a, self.node("Mod", a, b)), b)

    def cast(self, x: str, dtype: Any) -> str:
        return self.node("Cast", x, to=number_of(np.dtype(dtype)))

    def reshape(self, x: str, *sizes: int) -> str:
        return self.node("Reshape", x, self.ints(*sizes))


def _rank(value: Value | None) -> int | None:
    if value is None:
        return None
    return value.array.ndim


def used(nodes: list[Any], outputs: list[str]) -> list[Any]:
    """The nodes that the outputs need, in order."""
    needed = set(outputs)
    found = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            found.append(node)
            needed.update(node.input)
    return found[::-1]


class TracedCall:
    """A call that is written. Its methods raise ValueError where a setting depends on a dynamic size.

    calls: the call in each run.
    names: name of a value in the traces -> its name in the graph.
    axes: the names of the dynamic axes.

    In the methods, `i` is the number of an input of the call.
    """

    def __init__(
        self, writer: GraphBuilder, calls: Sequence[Call], names: dict[str, str], axes: Sequence[str]
    ) -> None:
        self.graph = writer
        self.calls = calls
        self._names = names
        self._axes = axes
        self.node = writer.node
        self.kind = calls[0].kind
        self.settings = calls[0].settings

    # --- errors
    def refuse(self, what: str, remedy: str = "") -> ValueError:
        """The error, for the caller to raise."""
        text = f"[onnx.export] {self.kind} at {self.calls[0].where}: {what}"
        if remedy:
            text = f"{text}; {remedy}"
        return ValueError(text)

    def depends(self, what: str) -> ValueError:
        """The error for something that differs between runs of different sizes, for the caller to raise."""
        axes = ", ".join(f"'{name}'" for name in self._axes)
        return self.refuse(
            f"{what} depends on the size of a dynamic axis ({axes}) in a way that has no counterpart",
            "leave that axis out of dynamic_axes",
        )

    def require_ranks(self) -> None:
        """Raises ValueError: the rank of an operand, or the shape of a result, differs between runs."""
        first = self.calls[0]
        for call in self.calls[1:]:
            operands = zip([*first.inputs, *first.outputs], [*call.inputs, *call.outputs], strict=True)
            if any(_rank(a) != _rank(b) for a, b in operands):
                raise self.depends("the number of dimensions")
        for call in self.calls[1:]:
            results = zip(first.outputs, call.outputs, strict=True)
            if not all(same_dims(a.dims, b.dims) for a, b in results):
                raise self.depends("the shape of the result")

    # --- settings
    def get(self, name: str) -> Any:
        """A setting that is equal in all runs."""
        values = [call.settings[name] for call in self.calls]
        if not _equal(values[0], values[1]):  # the first two runs have the same sizes and other values
            raise self.refuse(f"{name} depends on the values of the inputs", "use operations on tensors")
        if any(not _equal(v, values[0]) for v in values[1:]):
            raise self.depends(name)
        return values[0]

    def ndim(self, i: int = 0) -> int:
        return len(self.dims(i))

    def dims(self, i: int) -> Dims:
        """The shape of an input, with sizes that depend on dynamic axes."""
        value = self.calls[0].inputs[i]
        assert value is not None
        return value.dims

    def result_dims(self, i: int = 0) -> Dims:
        return self.calls[0].outputs[i].dims

    def size(self, i: int, axis: int) -> int:
        """A size that does not depend on dynamic axes."""
        n = self.dims(i)[axis]
        if isinstance(n, Size):
            raise self.depends(f"the size of axis {axis}")
        return n

    def dtype(self, i: int = 0) -> np.dtype[Any]:
        value = self.calls[0].inputs[i]
        assert value is not None
        return value.array.dtype

    def has(self, i: int) -> bool:
        return i < len(self.calls[0].inputs) and self.calls[0].inputs[i] is not None

    # --- operands
    def inputs(self) -> list[str]:
        return [self.input(i) for i in range(len(self.calls[0].inputs))]

    def input(self, i: int) -> str:
        """The name of an operand; "" for one that is left out."""
        return self.operand([call.inputs[i] for call in self.calls])

    def setting(self, name: str, place: int) -> str:
        """The name of the array at a place in the setting `name`, which is a tuple."""
        return self.operand([call.settings[name][place] for call in self.calls])

    def index(self, i: int, dtypes: tuple[str, ...] = ("int32", "int64")) -> str:
        """The name of an operand that holds indices, cast to int64 if it has none of these dtypes."""
        if self.dtype(i).name in dtypes:
            return self.input(i)
        return self.graph.cast(self.input(i), np.int64)

    def operand(self, values: Sequence[Value | None]) -> str:
        """The name in the graph of an operand, given as its value in each run; a constant is added."""
        first = values[0]
        if first is None:
            return ""
        present: list[Any] = list(values)
        if any(v.name != first.name for v in present):
            raise self.refuse("the model takes other operands for inputs of other sizes or values")
        if first.name:
            return self._names[first.name]
        return self._constant([v.array for v in present])

    def _constant(self, arrays: list[Array]) -> str:
        """The name of an array that no call made, given in each run; it has to be the same in all of them."""
        first = arrays[0]
        if all(_equal(a, first) for a in arrays[1:]):
            return self.graph.constant(first)
        if _equal(first, arrays[1]):  # the first two runs have the same sizes and other values
            raise self.depends(f"a constant of shape {first.shape}")
        raise self.refuse(
            "got a tensor that depends on the inputs, but was not made from them by operations that have "
            "a counterpart in ONNX",
            "use operations on floats, or compute it outside and pass it as an input",
        )

    def scalar(self, value: Number, i: int = 0) -> str:
        """A constant in the dtype of an operand."""
        return self.graph.constant(np.array(value, self.dtype(i)))

    # --- shapes
    def shape(self, dims: Dims, of: str = "", of_dims: Dims = (), free: bool = False) -> str:
        """The name of an int64 vector that holds a shape.

        free: the vector is the target of a reshape of the value `of`, with the shape of_dims, in which 0
        copies a size and one entry may be -1.
        """
        if free:
            numbers = _free_target(dims, of_dims)
            if numbers is not None:
                return self.graph.ints(*numbers)
        return self.joined([self._name_or_number(n) for n in dims])

    def _name_or_number(self, n: Dim) -> str | int:
        if isinstance(n, Size):
            return self.number(n)
        return n

    def joined(self, numbers: Sequence[int | str]) -> str:
        """The name of a vector joined from numbers and from names of vectors of one element."""
        plain = [n for n in numbers if not isinstance(n, str)]
        if len(plain) == len(numbers):
            return self.graph.ints(*plain)
        names: list[str] = []
        for n in numbers:
            if isinstance(n, str):
                names.append(n)
            else:
                names.append(self.graph.ints(n))
        if len(names) > 1:
            return self.node("Concat", *names, axis=0)
        return names[0]

    def reshaped(self, x: str, before: Dims, after: Dims) -> str:
        """The name of x, of the shape `before`, reshaped to `after`."""
        may_be_empty = any(lower_bound(n) <= 0 for n in after)
        if self.graph.opset > 13 and may_be_empty:  # allowzero: a 0 is a size
            return self.node("Reshape", x, self.shape(after), allowzero=1)
        return self.node("Reshape", x, self.shape(after, x, before, free=True))

    # --- sizes
    def number(self, n: Dim) -> str:
        """The name of an int64 vector of one element that holds a size, made by the operations that it is
        made of."""
        if not isinstance(n, Size):
            return self.graph.ints(n)
        if n.key not in self.graph.sizes:
            terms = [self._term(n, product, factor) for product, factor in n.terms.items()]
            self.graph.sizes[n.key] = reduce(partial(self.node, "Add"), terms)
        return self.graph.sizes[n.key]

    def scalar_size(self, n: Dim | Real) -> str:
        """The name of a scalar that holds a size (int64) or a number with a fraction (float64)."""
        if isinstance(n, Real):
            made = self._real(n)
        elif isinstance(n, Size):
            made = self.number(n)
        else:
            return self.graph.constant(np.int64(n))
        return self.node("Squeeze", made, self.graph.ints(0))

    def vector(self, values: Sequence[Any]) -> str:
        """The name of a vector of sizes (int64), or of fractions among them (float64)."""
        if not any(isinstance(n, (float, Real)) for n in values):
            return self.shape(tuple(values))
        names = [self._real(n) for n in values]
        if len(names) > 1:
            return self.node("Concat", *names, axis=0)
        return names[0]

    def _term(self, n: Size, product: tuple[str, ...], factor: int) -> str:
        """A product of atoms, times a number."""
        if not product:
            return self.graph.ints(factor)
        made = reduce(partial(self.node, "Mul"), [self._atom(n.atoms[key]) for key in product])
        if factor == 1:
            return made
        return self.node("Mul", made, self.graph.ints(factor))

    def _atom(self, atom: Atom) -> str:
        if atom.key not in self.graph.sizes:
            # one of the methods from `_axis` to `_trunc`, which have the names of `Atom.op`
            self.graph.sizes[atom.key] = getattr(self, f"_{atom.op}")(*atom.operands)
        return self.graph.sizes[atom.key]

    def _axis(self, value: str, at: int) -> str:
        if value not in self._names:
            raise self.depends("a size")
        return self.node("Gather", self.node("Shape", self._names[value]), self.graph.ints(at), axis=0)

    def _floordiv(self, a: Dim, b: Dim) -> str:
        dividend = self.number(a)
        divisor = self.number(b)
        is_number = not isinstance(a, Size)  # which may be 1 (`GraphBuilder.divided`)
        if lower_bound(a) < 0 or lower_bound(b) <= 0 or is_number:  # Div rounds towards 0
            return self.graph.floor_divided(dividend, divisor)
        return self.node("Div", dividend, divisor)

    def _min(self, a: Dim, b: Dim) -> str:
        return self._chosen("Min", "Less", a, b)

    def _max(self, a: Dim, b: Dim) -> str:
        return self._chosen("Max", "Greater", a, b)

    def _chosen(self, op: str, relation: str, a: Dim, b: Dim) -> str:
        first = self.number(a)
        second = self.number(b)
        if self.graph.opset > 11:
            return self.node(op, first, second)
        is_first = self.node(relation, first, second)
        return self.node("Where", is_first, first, second)  # Min of integers came later

    def _floor(self, x: Real) -> str:
        return self.graph.cast(self.node("Floor", self._real(x)), np.int64)

    def _ceil(self, x: Real) -> str:
        return self.graph.cast(self.node("Ceil", self._real(x)), np.int64)

    def _round(self, x: Real) -> str:
        return self.graph.cast(self.node("Round", self._real(x)), np.int64)

    def _trunc(self, x: Real) -> str:
        return self.graph.cast(self._real(x), np.int64)

    def _real(self, x: SymbolicNumber) -> str:
        """The name of a float64 vector of one element."""
        if isinstance(x, Size):
            return self._real_of_size(x)
        if not isinstance(x, Real):
            return self.graph.constant(np.array([x], np.float64))
        operands = [self._real(operand) for operand in x.operands]
        if x.op == "float":
            return operands[0]
        if x.op == "log2":
            return self._log2(*operands)
        first = x.operands[0]
        if x.op == "truediv" and type(first) in (int, float) and first == 1:
            return self.node("Reciprocal", operands[1])  # of (1 / a) * b onnxruntime makes b / a
        if x.op == "truediv":
            return self.node("Div", *operands)
        return self.node(x.op.capitalize(), *operands)

    def _real_of_size(self, n: Size) -> str:
        """The name of a float64 vector of one element. The factors of what int64 may not hold are floats."""
        if not n.may_be_huge:
            return self.graph.cast(self.number(n), np.float64)
        terms = []
        for product, factor in n.terms.items():
            atoms = [self.graph.cast(self._atom(n.atoms[key]), np.float64) for key in product]
            terms.append(reduce(partial(self.node, "Mul"), [self._real(factor), *atoms]))
        return reduce(partial(self.node, "Add"), terms)

    def _log2(self, x: str) -> str:
        """log(x) / log(2), and the whole number itself for a power of two."""
        y = self.node("Div", self.node("Log", x), self._real(math.log(2)))
        whole = self.node("Round", y)
        is_power = self.node("Equal", self.node("Pow", self._real(2.0), whole), x)
        return self.node("Where", is_power, whole, y)


def _free_target(dims: Dims, of_dims: Dims) -> list[int] | None:
    """`dims` as the target of a reshape of a value with the shape of_dims: 0 copies a size, -1 is the rest.

    None where such a target cannot say them: a size that is 0 itself, two sizes that are not copied, or a
    rest beside a size that may be 0.
    """
    if any(not isinstance(n, Size) and n == 0 for n in dims):
        return None
    varying = [i for i, n in enumerate(dims) if isinstance(n, Size)]
    copied = [i for i in varying if i < len(of_dims) and same_size(of_dims[i], dims[i])]
    rest = [i for i in varying if i not in copied]
    if len(rest) > 1:
        return None
    if rest and any(lower_bound(dims[i]) <= 0 for i in copied):
        return None
    numbers: list[int] = []
    for i, n in enumerate(dims):
        if i in copied:
            numbers.append(0)
        elif isinstance(n, Size):
            numbers.append(-1)
        else:
            numbers.append(n)
    return numbers


def equal_calls(first: list[Call], second: list[Call]) -> bool:
    """True if two runs of the same sizes and values have made the same calls."""
    if len(first) != len(second):
        return False
    for a, b in zip(first, second, strict=True):
        operands = [*a.inputs, *a.outputs], [*b.inputs, *b.outputs]
        if a.kind != b.kind or not _equal(operands[0], operands[1]) or a.settings.keys() != b.settings.keys():
            return False
        if not all(_equal(value, b.settings[name]) for name, value in a.settings.items()):
            return False
    return True


def _equal(a: Any, b: Any) -> bool:
    """True if two settings are equal: numbers, strings, slices, arrays, tuples of them."""
    if isinstance(a, Value) and isinstance(b, Value):
        return a.name == b.name and same_dims(a.dims, b.dims) and (bool(a.name) or _equal(a.array, b.array))
    if isinstance(a, (Size, Real)) or isinstance(b, (Size, Real)):
        return type(a) is type(b) and a.key == b.key
    if isinstance(a, slice) and isinstance(b, slice):
        return _equal((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        a = np.asarray(a)
        b = np.asarray(b)
        return a.dtype == b.dtype and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    if type(a) in (tuple, list) and type(b) in (tuple, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a is b or (type(a) is type(b) and a == b))
