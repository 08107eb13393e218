"""What the functions that write nodes work with: `Writer` collects nodes, `Site` is one call of the model.

A Site holds the same call in each traced run (`runs.py`). What is equal in all runs is written as a constant.
What differs is written as nodes that compute it from sizes of dynamic axes, or refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial, reduce
from itertools import combinations
from typing import Any

import numpy as np

from ranvier.onnx.registry import BECAME_INPUTS
from ranvier.onnx.tracing import Value
from ranvier.onnx.values import number_of
from ranvier.tape.calls import Call

Array = np.ndarray[Any, Any]


class Writer:
    """Collects the nodes of a graph. Values are named by strings; "" is an input that is left out.

    onnx: the package. opset: the version of the operator set. `node` takes inputs and attributes as in the
    newest version, and writes inputs as attributes where the older version has them so.
    """

    def __init__(self, onnx: Any, opset: int) -> None:
        self.onnx, self.opset = onnx, opset
        self.nodes: list[Any] = []
        self.initializers: dict[str, Array] = {}
        self._constants: dict[Any, str] = {}  # dtype, shape and bytes of a constant -> its name
        self._arrays: dict[str, Array] = {}  # name of a constant -> its array
        self._taken: set[str] = set()

    def reserve(self, name: str) -> str:
        """The name, or one like it that is not taken yet."""
        free, n = name, 0
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
            given = {name: self._arrays[x] for name, x in zip(names, inputs[1:], strict=False) if x}
            inputs, attributes = inputs[:1], {**attributes, **{n: a.tolist() for n, a in given.items()}}
        name = self.reserve(op)
        results = [self.reserve(f"{name}_out" + (f"_{i}" if outputs > 1 else "")) for i in range(outputs)]
        while inputs and not inputs[-1]:  # inputs that are left out at the end are not written
            inputs = inputs[:-1]
        settings = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), results, name, **settings))
        return results[0] if outputs == 1 else results

    def has(self, op: str) -> bool:
        """True if the version of the operator set has the operator."""
        return bool(self.onnx.defs.has(op, self.opset))

    def constant(self, value: Any, dtype: Any = None) -> str:
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

    def cast(self, x: str, dtype: Any) -> str:
        return self.node("Cast", x, to=number_of(np.dtype(dtype)))

    def reshape(self, x: str, *sizes: int) -> str:
        return self.node("Reshape", x, self.ints(*sizes))


def used(nodes: list[Any], outputs: list[str]) -> list[Any]:
    """The nodes that the outputs need, in order."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    return kept[::-1]


class Sizes:
    """The dynamic axes.

    names: their symbols. values: for each its size in each run. sources: for each the (input, axis) that has
    it.
    divided: True after a size was written as a quotient. A wrong quotient may fit the sizes of all runs, so
    `export` then compares the graph at further sizes.
    """

    def __init__(
        self, names: list[str], values: list[tuple[int, ...]], sources: list[tuple[str, int]]
    ) -> None:
        self.names, self.values, self.sources = names, values, sources
        self.divided = False


class Site:
    """A call that is written. Its methods raise ValueError where a setting depends on a dynamic size.

    calls: the call in each run. names: name of a value in the traces -> its name in the graph. In the
    methods, `i` is the number of an input of the call.
    """

    def __init__(self, writer: Writer, calls: Sequence[Call], names: dict[str, str], sizes: Sizes) -> None:
        self.w, self.calls, self._names, self.sizes = writer, calls, names, sizes
        self.node = writer.node
        self.kind, self.settings = calls[0].kind, calls[0].settings

    # --- errors
    def refuse(self, what: str, remedy: str = "") -> ValueError:
        """The error, for the caller to raise."""
        return ValueError(
            f"[onnx.export] {self.kind} at {self.calls[0].where}: {what}" + (f"; {remedy}" if remedy else "")
        )

    def depends(self, what: str) -> ValueError:
        """The error for something that differs between runs of different sizes, for the caller to raise."""
        axes = ", ".join(f"'{name}'" for name in self.sizes.names)
        return self.refuse(
            f"{what} depends on the size of a dynamic axis ({axes}) in a way that has no counterpart",
            "leave that axis out of dynamic_axes",
        )

    def require_ranks(self) -> None:
        """Raises ValueError: the number of dimensions of an operand or result differs between runs."""
        for values in zip(*([*c.inputs, *c.outputs] for c in self.calls), strict=True):
            if len({None if v is None else v.array.ndim for v in values}) > 1:
                raise self.depends("the number of dimensions")

    # --- settings
    def get(self, name: str) -> Any:
        """A setting that is equal in all runs."""
        values = [call.settings[name] for call in self.calls]
        if not _equal(values[0], values[1]):  # the first two runs have the same sizes and other values
            raise self.refuse(f"{name} depends on the values of the inputs", "use operations on tensors")
        if any(not _equal(v, values[0]) for v in values[1:]):
            raise self.depends(name)
        return values[0]

    def shapes(self, i: int) -> list[tuple[int, ...]]:
        """The shape of an input in each run."""
        return [call.inputs[i].array.shape for call in self.calls]

    def results(self, i: int = 0) -> list[tuple[int, ...]]:
        """The shape of a result in each run."""
        return [call.outputs[i].array.shape for call in self.calls]

    def ndim(self, i: int = 0) -> int:
        return len(self.shapes(i)[0])

    def size(self, i: int, axis: int) -> int:
        """A size that is equal in all runs."""
        sizes = {shape[axis] for shape in self.shapes(i)}
        if len(sizes) > 1:
            raise self.depends(f"the size of axis {axis}")
        return sizes.pop()

    def dtype(self, i: int = 0) -> Any:
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
        return self.input(i) if self.dtype(i).name in dtypes else self.w.cast(self.input(i), np.int64)

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
        """The name of an array that no call made, given in each run.

        If it depends on sizes, it has to be one element repeated, numbers at equal distances, or a triangle.
        """
        first = arrays[0]
        if all(_equal(a, first) for a in arrays[1:]):
            return self.w.constant(first)
        if not _equal(first, arrays[1]):  # the first two runs have the same sizes and other values
            raise self.refuse(
                "got a tensor that depends on the inputs, but was not made from them by operations that have "
                "a counterpart in ONNX",
                "use operations on floats, or compute it outside and pass it as an input",
            )
        shape = self.shape([a.shape for a in arrays])
        # the axes whose size varies: the array may be the same along them
        same = [d for d in range(first.ndim) if len({a.shape[d] for a in arrays}) > 1]
        one = first[tuple(slice(1) if d in same else slice(None) for d in range(first.ndim))]
        if one.size and all(_equal(a, np.broadcast_to(one, a.shape)) for a in arrays):
            return self.node("Expand", self.w.constant(one), shape)
        written = self._steps(arrays) or self._triangle(arrays, shape)
        if not written:
            raise self.depends(f"a constant of shape {first.shape}")
        return written

    def _steps(self, arrays: list[Array]) -> str:
        """Nodes for a vector of equally spaced whole numbers whose length varies; "" for another array."""
        if any(a.ndim != 1 or not a.size or not _equal(a, np.round(a)) for a in arrays):
            return ""
        longest = max(arrays, key=len)
        step = int(longest[1] - longest[0]) if len(longest) > 1 else 1
        if any(not _equal(a, (a[0] + np.arange(len(a)) * step).astype(a.dtype)) for a in arrays):
            return ""
        count = self.node("Squeeze", self.number(tuple(map(len, arrays))), self.w.ints(0))
        zero, one = (self.w.constant(np.int64(n)) for n in (0, 1))
        y = self.node("Range", zero, count, one)  # 0, 1 ...: onnxruntime's optimizer fails for negative steps
        y = y if step == 1 else self.node("Mul", y, self.w.ints(step))
        starts = tuple(int(a[0]) for a in arrays)
        y = y if not any(starts) else self.node("Add", y, self.number(starts))
        return y if arrays[0].dtype == np.int64 else self.w.cast(y, arrays[0].dtype)

    def _triangle(self, arrays: list[Array], shape: str) -> str:
        """Nodes for a matrix with one number up to a diagonal and another beyond it, such as a causal mask.

        shape: the name of its shape. "" for another array.
        """
        largest = max(arrays, key=lambda a: a.size)
        if any(a.ndim != 2 for a in arrays) or min(largest.shape) < 2:
            return ""
        low, high = largest[-1, 0], largest[0, -1]
        for k in range(1 - len(largest), largest.shape[1]):
            if all(_equal(a, np.where(np.tri(a.shape[0], a.shape[1], k, bool), low, high)) for a in arrays):
                one = self.w.onnx.numpy_helper.from_array(np.ones(1, np.float32))
                ones = self.node("ConstantOfShape", shape, value=one)
                below = self.node("Trilu", ones, self.w.constant(np.int64(k)), upper=0)
                below = self.w.cast(below, np.bool_)
                if largest.dtype == np.bool_:  # onnxruntime has no Where of bools
                    return below if low else self.node("Not", below)
                return self.node("Where", below, self.w.constant(low), self.w.constant(high))
        return ""

    def scalar(self, value: Any, i: int = 0) -> str:
        """A constant in the dtype of an operand."""
        return self.w.constant(np.array(value, self.dtype(i)))

    # --- shapes
    def shape(
        self, shapes: Sequence[tuple[int, ...]], of: str = "", of_shapes: Any = None, free: bool = False
    ) -> str:
        """The name of an int64 vector that holds these shapes, one for each run.

        of, of_shapes: the name of a value and its shapes in the runs; the nodes may read its sizes. free: the
        vector is the target of a reshape of `of`, in which 0 copies a size and one entry may be -1.
        """
        entries = list(zip(*shapes, strict=True))
        varying = [i for i, entry in enumerate(entries) if len(set(entry)) > 1]
        fixed = [entry[0] for entry in entries]
        if free and all(fixed[i] for i in range(len(fixed)) if i not in varying):
            same = [i for i in varying if i < len(of_shapes[0]) and entries[i] == _along(of_shapes, i)]
            rest = [i for i in varying if i not in same]
            if not rest or (len(rest) == 1 and all(map(all, entries))):
                return self.w.ints(*[0 if i in same else -1 if i in rest else n for i, n in enumerate(fixed)])
        return self.joined([self.number(e, of, of_shapes) if len({*e}) > 1 else e[0] for e in entries])

    def joined(self, numbers: Sequence[int | str]) -> str:
        """The name of a vector joined from numbers and from names of vectors of one element."""
        known = [n for n in numbers if not isinstance(n, str)]
        if len(known) == len(numbers):
            return self.w.ints(*known)
        names = [n if isinstance(n, str) else self.w.ints(n) for n in numbers]
        return self.node("Concat", *names, axis=0) if len(names) > 1 else names[0]

    def reshaped(self, x: str, shapes: Any, results: Sequence[tuple[int, ...]]) -> str:
        """The name of x reshaped to the results. shapes, results: its shape before and after, in each run."""
        if self.w.opset > 13 and any(0 in result for result in results):  # allowzero: a 0 is a size
            return self.node("Reshape", x, self.shape(results, x, shapes), allowzero=1)
        return self.node("Reshape", x, self.shape(results, x, shapes, free=True))

    def number(self, entry: tuple[int, ...], of: str = "", of_shapes: Any = None) -> str:
        """The name of an int64 vector of one element, which has the value entry[r] in run r.

        The value is written as (p n + c) // q, where n is a size, or a product of two, that varies, and p, c
        and q are constants that fit all runs. Among several fits the one with the least q, then with one
        size, is taken.
        of, of_shapes: as in `shape`.
        """
        if len(set(entry)) == 1:
            return self.w.ints(entry[0])
        sizes = [(_along(of_shapes, axis), (of, axis)) for axis in range(len(of_shapes[0]))] if of else []
        sizes += zip(self.sizes.values, self.sizes.sources, strict=True)
        sizes = [(values, source) for values, source in sizes if len(set(values)) > 1]
        terms = [(values, [source]) for values, source in sizes]
        for (a, first), (b, second) in combinations(sizes, 2):
            terms.append((tuple(x * y for x, y in zip(a, b, strict=True)), [first, second]))
        fits = [(found, sources) for values, sources in terms for found in _quotients(values, entry)]
        if not fits:
            raise self.depends("a size")
        (p, c, q), sources = min(fits, key=lambda fit: (fit[0][2], len(fit[1]), abs(fit[0][1])))
        self.sizes.divided |= q > 1
        n = reduce(partial(self.node, "Mul"), [self._size(*source) for source in sources])
        for op, k, neutral in (("Mul", p, 1), ("Add", c, 0), ("Div", q, 1)):
            n = n if k == neutral else self.node(op, n, self.w.ints(k))
        return n

    def _size(self, name: str, axis: int) -> str:
        return self.node("Gather", self.node("Shape", name), self.w.ints(axis), axis=0)


def _along(shapes: Sequence[tuple[int, ...]], axis: int) -> tuple[int, ...]:
    """The size of an axis in each run."""
    return tuple(shape[axis] for shape in shapes)


def _quotients(values: tuple[int, ...], entry: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """All (p, c, q) with (p n + c) // q == e for each run's n in `values` and e in `entry`.

    q is 1 to 8, or the quotient of the first pair. The slope p / q follows from the least and the largest n.
    """
    low, high = values.index(min(values)), values.index(max(values))
    slope = (entry[high] - entry[low]) / (values[high] - values[low])
    for q in {*range(1, 9), values[0] // max(entry[0], 1)} - {0}:
        p = round(slope * q)
        least = entry[low] * q - p * values[low]
        for c in range(least, least + q) if p else ():
            if all((p * n + c) // q == e for n, e in zip(values, entry, strict=True)):
                yield p, c, q


def _equal(a: Any, b: Any) -> bool:
    """True if two settings are equal: numbers, strings, slices, arrays, tuples of them."""
    if isinstance(a, Value) and isinstance(b, Value):
        return a.name == b.name and (bool(a.name) or _equal(a.array, b.array))
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        a, b = np.asarray(a), np.asarray(b)
        return a.dtype == b.dtype and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    if type(a) in (tuple, list) and type(b) in (tuple, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a is b or (type(a) is type(b) and a == b))
