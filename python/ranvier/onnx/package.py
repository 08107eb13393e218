"""The package onnx, which is imported when a file is read or written."""

from __future__ import annotations

import importlib
from typing import Any

OPSETS = range(1, 28)
"""The versions of the operator set that are read."""


def package(name: str) -> Any:
    """The module onnx, for a function of this name.

    Raises ImportError: it is not installed (`pip install 'ranvier[onnx]'`).
    """
    try:
        for part in (
            "onnx.checker",
            "onnx.defs",
            "onnx.inliner",
            "onnx.numpy_helper",
            "onnx.shape_inference",
        ):
            importlib.import_module(part)
        return importlib.import_module("onnx")
    except ImportError as error:
        raise ImportError(f"[{name}] ONNX files need onnx: pip install 'ranvier[onnx]' ({error})") from None
