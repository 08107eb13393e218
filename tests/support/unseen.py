"""Code in a step that a recording does not look at: no guard compares what it changes."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

_FILE = os.path.join(os.path.dirname(np.__file__), "_core", "unseen.py")  # NumPy's code is not read


def unseen(code: str, *parameters: str, **variables: Any) -> Callable[..., Any]:
    """A function with these parameters, this line of code and these global variables."""
    exec(compile(f"def function({', '.join(parameters)}):\n    {code}\n", _FILE, "exec"), variables)
    made: Callable[..., Any] = variables["function"]
    return made
