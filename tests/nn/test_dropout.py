"""The dropout layer: modes and text."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn


def test_modes():
    layer, x = nn.Dropout(0.5), rv.ones(1000)
    assert (layer(x).numpy() == 0).any()
    layer.eval()
    np.testing.assert_array_equal(layer(x).numpy(), x.numpy())
    assert repr(layer) == "Dropout(p=0.5, inplace=False)"


def test_wrong_probability():
    with pytest.raises(ValueError, match=r"\[dropout\] got p -1; expected a probability"):
        nn.Dropout(-1)
