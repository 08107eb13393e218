"""What stands in the place of the library's functions while sizes are symbols (`symbols.py`).

Each function takes the trace, the original function, and the arguments of the original. It computes with the
numbers of the present run and records one call, whose settings and `dims` hold the sizes; or it is composed
of other public functions, which are recorded. NotImplemented: the original is called as it is.

Importing this package registers them.
"""

import ranvier.onnx.stand_ins.creation
import ranvier.onnx.stand_ins.elements
import ranvier.onnx.stand_ins.images
import ranvier.onnx.stand_ins.layers
import ranvier.onnx.stand_ins.queries
import ranvier.onnx.stand_ins.scalars
import ranvier.onnx.stand_ins.shapes
import ranvier.onnx.stand_ins.slices
