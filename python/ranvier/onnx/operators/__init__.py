"""The functions that compute ONNX's operators, a module for each kind; importing this package registers
them."""

import ranvier.onnx.one_to_one
import ranvier.onnx.operators.arithmetic
import ranvier.onnx.operators.control
import ranvier.onnx.operators.indexing
import ranvier.onnx.operators.layers
import ranvier.onnx.operators.quantized
import ranvier.onnx.operators.resize
import ranvier.onnx.operators.shapes
import ranvier.onnx.operators.windows
