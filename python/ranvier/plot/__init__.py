"""Pictures with matplotlib (the extra `plot`), which is imported when the first picture is drawn.

Each function draws in the Axes `ax` or the Figure `figure` if given, else in a new figure, and returns the
Axes. With `path` it saves the picture; the ending of the path gives the format (.png, .svg, .pdf ...).
Without matplotlib (`pip install 'ranvier[plot]'`) it raises ImportError.
"""

from ranvier.plot.activation import activation, activations
from ranvier.plot.boundary import decision_boundary
from ranvier.plot.confusion import classes, confusion_matrix
from ranvier.plot.convolution import feature_maps, kernels
from ranvier.plot.curves import history
from ranvier.plot.depth import dead_units, gradient_flow, signals
from ranvier.plot.descent import descent, learning_rates, optimizer_race
from ranvier.plot.figure import require_matplotlib
from ranvier.plot.graph import graph
from ranvier.plot.images import images, predictions
from ranvier.plot.inside import inside
from ranvier.plot.landscape import loss_landscape
from ranvier.plot.losses import loss_functions
from ranvier.plot.network import network
from ranvier.plot.neuron import neuron
from ranvier.plot.parameters import heatmap, norms, weights
from ranvier.plot.program import program
from ranvier.plot.rates import lr_range_test

__all__ = [
    "activation",
    "activations",
    "classes",
    "confusion_matrix",
    "dead_units",
    "decision_boundary",
    "descent",
    "feature_maps",
    "gradient_flow",
    "graph",
    "heatmap",
    "history",
    "images",
    "inside",
    "kernels",
    "learning_rates",
    "loss_functions",
    "loss_landscape",
    "lr_range_test",
    "network",
    "neuron",
    "norms",
    "optimizer_race",
    "predictions",
    "program",
    "require_matplotlib",
    "signals",
    "weights",
]
