"""Activations: y = f(x) element by element, one learned slope or gate included."""

from ranvier.ops.activation.piecewise import *
from ranvier.ops.activation.smooth import *
