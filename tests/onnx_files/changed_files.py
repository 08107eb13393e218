"""Changed ONNX files, read and run within bounds: `python tests/onnx_files/changed_files.py SEED COUNT`.

The sources are the files of onnx's node suite. Numbers, names, shapes, nodes and bytes are changed at random.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import ranvier as rv
from google.protobuf.message import DecodeError
from onnx import AttributeProto, numpy_helper
from onnx_files.node_suite import CASES
from ranvier.onnx.registry import OPERATORS
from support.isolated import run_isolated

SECONDS, BYTES = 2.0, 64 * 2**20  # for any file, and four times its size
INTEGERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    64,
    4096,
    6000,
    10**5,
    2**24,
    2**31,
    2**40,
    2**62,
    -(2**31),
    -(2**63),
    2**63 - 1,
)
FLOATS = (0.0, 1.0, -1.0, 0.5, 1e-7, 1e-30, 1e7, 1e30, float("nan"), float("inf"))
WORDS = (
    "SAME_UPPER",
    "SAME_LOWER",
    "VALID",
    "edge",
    "wrap",
    "reflect",
    "linear",
    "cubic",
    "nearest",
    "max",
    "...,...->...",
)
RESULTS = (ValueError, TypeError)


def peak() -> int:
    """The most memory that this process has held since `forget_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def forget_peak() -> int:
    """Its current content."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


@cache
def sources() -> list[Path]:
    return sorted(p for p in CASES.glob("node/*/model.onnx") if p.stat().st_size < 20_000)


def arguments(path: Path) -> list[Any]:
    """The arrays that the suite has for a file; others that are no tensors are left out."""
    found = []
    for file in sorted(path.parent.glob("test_data_set_0/input_*.pb"), key=lambda p: int(p.stem[6:])):
        try:
            found.append(numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes())))
        except (DecodeError, TypeError, ValueError):
            found.append(np.ones(1, np.float32))
    return found


def changed(rng: random.Random, model: Any, inputs: list[Any]) -> bytes:
    """A few changes; inputs become initializers at times, so that the file has their values."""
    for i, value in enumerate(list(model.graph.input)):
        if i and i < len(inputs) and rng.random() < 0.7 and inputs[i].dtype.kind in "iuf":
            array = inputs[i].copy()
            if array.size and rng.random() < 0.6:
                array.reshape(-1)[rng.randrange(array.size)] = number(rng, array.dtype)
            model.graph.initializer.append(numpy_helper.from_array(array, value.name))
    for _ in range(rng.choice((1, 1, 2, 4))):
        rng.choices((of_attribute, of_tensor, of_node, of_graph), (6, 4, 2, 1))[0](rng, model.graph)
    content = bytearray(model.SerializeToString())
    if rng.random() < 0.1:
        for _ in range(rng.choice((1, 2, 8))):
            content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content[: rng.randrange(len(content))] if rng.random() < 0.03 else content)


def number(rng: random.Random, dtype: Any) -> Any:
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return dtype.type(rng.choice(FLOATS))
    return dtype.type(min(max(rng.choice(INTEGERS), np.iinfo(dtype).min), np.iinfo(dtype).max))


def of_attribute(rng: random.Random, graph: Any) -> None:
    found = [a for node in graph.node for a in node.attribute]
    if not found:
        return
    a = rng.choice(found)
    if a.type == AttributeProto.INT:
        a.i = rng.choice(INTEGERS)
    elif a.type == AttributeProto.FLOAT:
        a.f = rng.choice(FLOATS)
    elif a.type == AttributeProto.STRING:
        a.s = rng.choice(WORDS).encode()
    elif a.type == AttributeProto.INTS and a.ints:
        a.ints[rng.randrange(len(a.ints))] = rng.choice(INTEGERS)
        if rng.random() < 0.2:
            a.ints.append(rng.choice(INTEGERS))
    elif a.type == AttributeProto.FLOATS and a.floats:
        a.floats[rng.randrange(len(a.floats))] = rng.choice(FLOATS)
    elif a.type == AttributeProto.TENSOR:
        of_values(rng, a.t)


def of_values(rng: random.Random, tensor: Any) -> None:
    if tensor.dims and rng.random() < 0.1:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(INTEGERS)
        return
    try:
        array = numpy_helper.to_array(tensor).copy()
        array.reshape(-1)[rng.randrange(array.size)] = number(rng, array.dtype)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    except (AttributeError, IndexError, TypeError, ValueError):
        tensor.data_type = rng.randrange(24)


def of_tensor(rng: random.Random, graph: Any) -> None:
    if graph.initializer:
        of_values(rng, rng.choice(graph.initializer))


def of_node(rng: random.Random, graph: Any) -> None:
    if not graph.node:
        return
    node = rng.choice(graph.node)
    kind = rng.randrange(4)
    names = (
        [v.name for v in (*graph.input, *graph.initializer)]
        + [v for n in graph.node for v in n.output]
        + [""]
    )
    if kind == 0 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif kind == 1:
        node.op_type = rng.choice(sorted(OPERATORS))
    elif kind == 2:
        node.input.append(rng.choice(names))
    else:
        before = graph.node.add()
        before.op_type, name = (
            rng.choice(("Expand", "Tile", "Concat", "Flatten", "Shape")),
            f"new{len(graph.node)}",
        )
        before.input.extend([rng.choice(names), rng.choice(names)])
        before.output.append(name)
        if node.input:
            node.input[rng.randrange(len(node.input))] = name


def of_graph(rng: random.Random, graph: Any) -> None:
    value = rng.choice((*graph.input, *graph.output))
    dims = value.type.tensor_type.shape.dim
    if dims and rng.random() < 0.7:
        dims[rng.randrange(len(dims))].dim_value = rng.choice(INTEGERS)
    else:
        value.type.tensor_type.elem_type = rng.randrange(1, 20)


def read_and_run(content: bytes, folder: Path, given: list[Any]) -> str:
    """The fault, or "": reads the file, and runs it with arrays as it declares them."""
    (folder / "m.onnx").write_bytes(content)
    before, start = forget_peak(), resource.getrusage(resource.RUSAGE_SELF)
    outcome = ""
    try:
        module = rv.onnx.load(folder / "m.onnx")
        with rv.no_grad():
            module(*[fitting(spec, given) for spec in module._inputs])
    except RESULTS as error:
        outcome = "" if str(error).startswith("[") else f"an unclear error: {error!r}"
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = used.ru_utime + used.ru_stime - start.ru_utime - start.ru_stime
    more = peak() - before - 4 * len(content) - BYTES
    if seconds > SECONDS:
        outcome += f" {seconds:.1f} s"
    return outcome + (f" {more / 2**20:.0f} MB too many" if more > 0 else "")


def fitting(spec: Any, given: list[Any]) -> Any:
    _, dtype, shape = spec
    same = [a for a in given if a.dtype == dtype and (shape is None or len(shape) == a.ndim)]
    if same and all(n in (None, m) for n, m in zip(shape or same[0].shape, same[0].shape, strict=True)):
        return same[0]
    sizes = [2 if n is None else min(max(n, 0), 4096) for n in shape or ()]
    return np.ones(sizes if np.prod([float(n) for n in sizes]) < 4096 else 1, dtype)


def case(seed: int, folder: Path) -> tuple[str, Any]:
    rng = random.Random(seed)
    path = rng.choice(sources())

    def run() -> None:
        given = arguments(path)
        content = changed(rng, onnx.load(path), given)
        fault = read_and_run(content, folder, given)
        assert not fault, fault

    return f"{seed} of {path.parent.name}", run


if __name__ == "__main__":
    first, total = map(int, sys.argv[1:3])
    with tempfile.TemporaryDirectory() as name:
        began = time.monotonic()
        for start in range(first, first + total, 250):
            for line in run_isolated([case(i, Path(name)) for i in range(start, start + 250)]):
                print(line, flush=True)
        print(f"{total} files in {time.monotonic() - began:.0f} s")
