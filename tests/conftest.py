"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core


def pytest_collection_finish() -> None:
    """The tests themselves, a million objects, are not looked at by each gc.collect() from now on."""
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc: Any) -> None:
    """One test for each ISA level, and for each variant, dtype and layout that an OpCase declares."""
    if "isa" in metafunc.fixturenames:
        metafunc.parametrize("isa", _core.supported_isas(), indirect=True)
    case = metafunc.cls
    if case is None or not hasattr(case, "variants"):
        return
    variants = case.variants[:1] if "drawn" in metafunc.function.__name__ else case.variants
    metafunc.parametrize("variant", variants, ids=[_label(v) for v in variants])
    if "dtype" in metafunc.fixturenames:
        metafunc.parametrize("dtype", case.dtypes)
    if "layout" in metafunc.fixturenames:
        metafunc.parametrize("layout", case.layouts)


def _label(variant: dict[str, Any]) -> str:
    return "-".join(f"{name}={value}" for name, value in variant.items()) or "plain"


@pytest.fixture
def isa(request: Any) -> Iterator[str]:
    """The kernels of one ISA level; the level in force before comes back afterwards."""
    before = _core.isa()
    _core.set_isa(request.param)
    yield request.param
    _core.set_isa(before)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """A function that sets the number of threads for the rest of the test."""
    before = _core.get_num_threads()
    yield _core.set_num_threads
    _core.set_num_threads(before)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240229)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same global seed, whatever ran before."""
    rv.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_figures_left() -> Iterator[None]:
    """pyplot, once it is loaded, keeps every figure that is not closed."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
