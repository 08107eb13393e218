"""ONNX files: export of models, and import as trainable modules (`pip install 'ranvier[onnx]'`).

>>> import numpy as np, ranvier as rv
>>> model, x = rv.nn.Sequential(rv.nn.Linear(4, 3), rv.nn.ReLU()), np.ones((2, 4), np.float32)
>>> _ = rv.onnx.export(model, x, "model.onnx", dynamic_axes={"x": {0: "batch"}})
>>> again = rv.onnx.load("model.onnx")
>>> bool(rv.allclose(again(x), model(x)))
True
"""

from ranvier.onnx.exporter import export
from ranvier.onnx.reader import load

__all__ = ["export", "load"]
