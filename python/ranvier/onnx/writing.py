"""Writer: the nodes, constants and initializers of a graph that is written."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.onnx.dtypes import number_of

Array = np.ndarray[Any, Any]


_ATTRIBUTES = {  # a constant input, the attribute that it was, and the version from which on it is an input
    **{f"Reduce{kind}": (1, "axes", 18) for kind in ("Mean", "Max", "Min", "Prod", "L1", "L2", "LogSumExp")},
    "ReduceSum": (1, "axes", 13),
    "Squeeze": (1, "axes", 13),
    "Unsqueeze": (1, "axes", 13),
    "Split": (1, "split", 13),
    "Dropout": (1, "ratio", 12),
}


class Writer:
    """Collects nodes. Names of values are strings; "" is an input that is left out.

    Nodes are written as in the newest version of the operator set; `node` adapts them to an older one.
    """

    def __init__(self, onnx: Any, opset: int) -> None:
        self.onnx, self.opset = onnx, opset
        self.nodes: list[Any] = []
        self.initializers: dict[str, Array] = {}
        self._constants: dict[Any, str] = {}
        self._arrays: dict[str, Array] = {}
        self._taken: set[str] = set()

    def reserve(self, name: str) -> str:
        """The name, or one like it that is not taken yet."""
        found, n = name, 0
        while found in self._taken:
            n += 1
            found = f"{name}_{n}"
        self._taken.add(found)
        return found

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Adds a node; the name of its result, or the names of its results.

        Raises ValueError: the version of the operator set does not have the operator.
        """
        if not self.has(op):
            raise ValueError(
                f"[onnx.export] got opset_version {self.opset}, which has no {op}; expected a later version"
            )
        place, attribute, since = _ATTRIBUTES.get(op, (0, "", 0))
        if self.opset < since and len(inputs) > place:
            value = self._arrays[inputs[place]] if inputs[place] else None
            inputs = inputs[:place]
            if value is not None:
                attributes[attribute] = value.tolist()
        name = self.reserve(op)
        results = [self.reserve(f"{name}_out" + (f"_{i}" if outputs > 1 else "")) for i in range(outputs)]
        given = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(self.onnx.helper.make_node(op, _trimmed(inputs), results, name, **given))
        return results[0] if outputs == 1 else results

    def has(self, op: str) -> bool:
        """Whether the version of the operator set has the operator."""
        try:
            self.onnx.defs.get_schema(op, self.opset)
        except self.onnx.defs.SchemaError:
            return False
        return True

    def constant(self, value: Any, dtype: Any = None) -> str:
        """The name of a constant; equal ones are stored once."""
        array = np.ascontiguousarray(np.asarray(value, dtype)).reshape(np.shape(value))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = self.reserve("constant")
            tensor = self.onnx.numpy_helper.from_array(array, name)
            self.nodes.append(self.onnx.helper.make_node("Constant", [], [name], name, value=tensor))
            self._constants[key] = name
            self._arrays[name] = array
        return self._constants[key]

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def cast(self, x: str, dtype: Any) -> str:
        return self.node("Cast", x, to=number_of(np.dtype(dtype)))

    def reshape(self, x: str, *sizes: int) -> str:
        return self.node("Reshape", x, self.ints(*sizes))


def _trimmed(inputs: tuple[str, ...]) -> list[str]:
    """Without the inputs at the end that are left out."""
    given = list(inputs)
    while given and not given[-1]:
        given.pop()
    return given


def used(nodes: list[Any], outputs: list[str]) -> list[Any]:
    """The nodes that the outputs need, in order."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    return kept[::-1]
