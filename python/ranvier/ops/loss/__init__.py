"""Losses: how far predictions are from targets.

``reduction`` is 'mean' (the sum of the elements' losses divided by their number), 'sum' or 'none'. Shapes are
not broadcast: (n,) against (n, 1) raises ValueError. Targets that are NumPy arrays or integers are cast to
the dtype of x. Weights are constants without a gradient.

Other shapes and reductions raise ValueError; dtypes that are not floating raise TypeError.
"""
