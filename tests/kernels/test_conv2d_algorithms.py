"""The algorithms of conv2d, each turned off where it would be chosen (`allow_conv_algorithm`)."""

import pytest
from ranvier import _core
from support.convolution import check, random_arrays

# Where each algorithm is chosen: n, c, h, w, k, r, s, groups; the geometry.
CHOSEN = {
    "depthwise": ((2, 17, 9, 8, 34, 3, 3, 17), {"padding": 1}),
    "spread": ((2, 20, 9, 8, 24, 1, 1), {"stride": 2}),
    "columns": ((1, 24, 5, 4, 40, 5, 5), {"padding": 2}),
    "scattered": ((8, 6, 14, 14, 16, 5, 5), {}),
    "winograd": ((2, 64, 14, 13, 64, 3, 3), {"padding": 1}),
    "pixels": ((2, 3, 9, 8, 4, 1, 1), {}),
    "pointwise": ((2, 96, 7, 8, 40, 1, 1), {}),
    "planes": ((2, 3, 20, 17, 6, 3, 3), {"padding": 1}),
    "dots": ((2, 64, 7, 9, 2, 3, 3), {"stride": 2}),
    "grouped": ((2, 20, 9, 8, 20, 3, 3, 5), {"padding": 1}),
    "exchanged": ((2, 64, 7, 9, 3, 3, 3), {"padding": 1}),
}


@pytest.fixture
def without(request):
    _core.allow_conv_algorithm(request.param, False)
    yield request.param
    _core.allow_conv_algorithm(request.param, True)


@pytest.mark.parametrize("without", CHOSEN, indirect=True)
def test_without_an_algorithm(without, isa, rng):
    """Another computes what it would."""
    shape, geometry = CHOSEN[without]
    groups = {"groups": shape[7]} if len(shape) > 7 else {}
    check(*random_arrays(rng, "float32", *shape), **geometry, **groups)


def test_unknown_algorithm():
    with pytest.raises(ValueError, match=r"\[allow_conv_algorithm\] got name 'fft'; expected 'depthwise', "):
        _core.allow_conv_algorithm("fft", True)
