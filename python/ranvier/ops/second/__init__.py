"""The rules of ``create_graph=True``: the gradients of each Function by differentiable ops.

``autograd/graph.py`` imports this package at the first use. A rule is called with the node and the gradients
of its outputs, and returns one gradient, or None, for each input.
"""

import ranvier.ops.second.attention
import ranvier.ops.second.layers
import ranvier.ops.second.moves
import ranvier.ops.second.norm
import ranvier.ops.second.numeric
import ranvier.ops.second.products
import ranvier.ops.second.recurrent
import ranvier.ops.second.sums
