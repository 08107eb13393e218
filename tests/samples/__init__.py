"""Samples of all ops, by family, in files that are named like the folders of `python/ranvier/ops`."""

import importlib
import pkgutil

from samples.sample import OPS as OPS

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"samples.{_file.name}")
