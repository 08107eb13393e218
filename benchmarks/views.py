"""Views of inputs: arrays travel to the peers dense, and each side makes the view itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

VIEWS = {
    "transposed": lambda x: x.T,
    "every_second": lambda x: x[:, ::2],
    "unaligned": lambda x: x[..., 1:],
}


def viewed(arrays: Mapping[str, np.ndarray], views: Mapping[str, str] | None) -> list[np.ndarray]:
    return [VIEWS[views[name]](x) if views and name in views else x for name, x in arrays.items()]
