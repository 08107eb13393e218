"""The library as a backend of the onnx package, and the cases of onnx's node suite."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx.backend.test
import ranvier as rv
from onnx.backend.base import Backend, BackendRep

CASES = Path(onnx.backend.test.__file__).parent / "data"


class Representation(BackendRep):
    """A loaded model."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        result = self.module.forward(*inputs)  # arrays of dtypes that no Tensor has, too
        return tuple(r._array for r in (result if isinstance(result, tuple) else (result,)))


class RanvierBackend(Backend):
    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Representation:
        return Representation(rv.onnx.load(model))

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device.startswith("CPU")


class Outcome(NamedTuple):
    """kind: "passed", "failed" or "not held", because of an operator that the library does not have."""

    name: str
    kind: str
    reason: str
    operators: frozenset[str]


def outcomes(suite: str) -> Iterator[Outcome]:
    """The result of each case of a suite: "node", "pytorch-converted" ..."""
    for folder in sorted((CASES / suite).iterdir()):
        model = onnx.load(folder / "model.onnx")
        operators = frozenset(f"{n.domain}.{n.op_type}".lstrip(".") for n in model.graph.node)
        kind, reason = _outcome(model, folder)
        yield Outcome(folder.name, kind, reason, operators)


def _outcome(model: Any, folder: Path) -> tuple[str, str]:
    try:
        backend = RanvierBackend.prepare(model)
    except ValueError as error:
        return ("not held" if "expected operators of the table" in str(error) else "failed"), str(error)
    try:
        for data in sorted(folder.glob("test_data_set_*")):
            inputs = [_read(data / f"input_{i}.pb") for i in range(len(list(data.glob("input_*.pb"))))]
            results = backend.run(inputs)
            for i, result in enumerate(results):
                _check(result, _read(data / f"output_{i}.pb"))
    except (AssertionError, ValueError, TypeError) as error:
        return "failed", str(error)
    return "passed", ""


def _read(path: Path) -> np.ndarray:
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return onnx.numpy_helper.to_array(tensor)


def _check(found: np.ndarray, wanted: np.ndarray) -> None:
    """Tolerances of onnx's own runner."""
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    if wanted.dtype.kind in "biu":
        np.testing.assert_array_equal(found, wanted)
    else:
        np.testing.assert_allclose(found.astype(np.float64), wanted.astype(np.float64), rtol=1e-3, atol=1e-7)
