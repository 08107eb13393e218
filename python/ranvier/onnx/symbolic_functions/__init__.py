"""Handlers of functions that take sizes, for the time in which sizes are symbols (`patching.py`).

A handler takes the trace, the original function, and the arguments of the original. It computes with the
numbers of the present run and records one call, whose settings and `dims` hold the sizes; or it is composed
of other public functions, which are recorded. If it returns NotImplemented, the original is called as it is.

Importing this package registers them.
"""

import ranvier.onnx.symbolic_functions.creation
import ranvier.onnx.symbolic_functions.elements
import ranvier.onnx.symbolic_functions.images
import ranvier.onnx.symbolic_functions.layers
import ranvier.onnx.symbolic_functions.queries
import ranvier.onnx.symbolic_functions.scalars
import ranvier.onnx.symbolic_functions.shapes
import ranvier.onnx.symbolic_functions.slices
