"""Small ONNX models, made of nodes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def model_of(
    nodes: Iterable[onnx.NodeProto],
    constants: Mapping[str, Any] | None = None,
    shape: Sequence[Any] | None = None,
    dtype: Any = np.float32,
    results: Sequence[str] = ("y",),
    opset: int = 18,
    domains: Iterable[str] = (),
    **more: Any,
) -> onnx.ModelProto:
    """A model with the input x; constants: arrays or tensors that are initializers, by name.

    domains: those of other operators, in version 1.
    """
    x = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
    tensors = [
        value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name)
        for name, value in (constants or {}).items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in results]
    graph = helper.make_graph([*nodes], "g", [x], outputs, tensors)
    sets = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in domains)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8, **more)
