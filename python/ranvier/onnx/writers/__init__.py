"""The functions that write calls as ONNX nodes, a module for each kind; importing this package registers
them."""

import ranvier.onnx.one_to_one
import ranvier.onnx.writers.arithmetic
import ranvier.onnx.writers.layers
import ranvier.onnx.writers.quantized
import ranvier.onnx.writers.resize
import ranvier.onnx.writers.shapes
import ranvier.onnx.writers.sizes
