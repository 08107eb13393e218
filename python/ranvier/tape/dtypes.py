"""In which dtypes an op computes: one attribute of Functions, element-wise rows and ops of several steps."""

from __future__ import annotations

from typing import NamedTuple


class Dtypes(NamedTuple):
    """What an op does with half floats, within a block of autocast, and with integers.

    halves: "float32": it computes them in float32, and rounds results and gradients once. "own": it takes
        them as they are. "forward": forward does, but a call with a gradient is computed in float32.
    autocast: None: in a block it computes in the dtypes that it gets. "lower": floats are cast to the dtype
        of the block; "float32": half floats are cast to float32; "products": of recurrent steps, whose
        products alone are in the dtype of the block.
    beside: inputs from this one on may be float32 beside halves, whose dtype results get; 0: none may.
    integers: "kept", or "floats": they become floats of the default dtype first.
    like_first: results have the dtype of the first operand, where others are wider.
    """

    halves: str = "float32"
    autocast: str | None = None
    beside: int = 0
    integers: str = "kept"
    like_first: bool = False
