"""The operators, one module for each kind; importing this package registers all."""

import ranvier.onnx.one_to_one
import ranvier.onnx.operators.elementwise
import ranvier.onnx.operators.indexing
import ranvier.onnx.operators.norms
import ranvier.onnx.operators.recurrent
import ranvier.onnx.operators.reductions
import ranvier.onnx.operators.resize
import ranvier.onnx.operators.shapes
import ranvier.onnx.operators.windows
