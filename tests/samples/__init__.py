"""Samples of all ops, in a file for each family; layers are beside the functions of their family."""

import importlib
import pkgutil

from samples.sample import OPS as OPS, Sample

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"samples.{_file.name}")


def layer_samples() -> list[Sample]:
    """The right calls of all layers, but for containers, whose arguments are layers."""
    every = (sample for op in OPS.values() for sample in op.samples)
    return [sample for sample in every if sample.is_layer and sample.op.name != "Sequential"]
