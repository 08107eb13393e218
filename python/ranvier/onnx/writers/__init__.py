"""Functions that write calls as nodes, one module for each kind; importing this package registers all."""

import ranvier.onnx.one_to_one
import ranvier.onnx.writers.arithmetic
import ranvier.onnx.writers.layers
import ranvier.onnx.writers.quantized
import ranvier.onnx.writers.shapes
