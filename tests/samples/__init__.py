"""Samples of all ops, by family, in files that are named like the folders of `python/ranvier/ops`."""

import importlib
import pkgutil

from samples.sample import OPS as OPS
from samples.sample import Sample

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"samples.{_file.name}")


def layer_samples() -> list[Sample]:
    """The right calls of all layers, but for containers, whose arguments are layers."""
    every = (sample for op in OPS.values() for sample in op.samples)
    return [sample for sample in every if sample.is_layer and sample.op.name != "Sequential"]
