"""No kernel crashes, hangs or is silently wrong: it answers, or says what it got and expected.

What ops do is tested by properties: wrong_input, layouts.
"""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import kernels
from support.calls import KERNELS
from support.grouped import grouped
from support.layouts import LAYOUTS, in_layout
from support.refused import refused
from support.wrong_input import (
    SAME_VALUES,
    WRONG_ATTRIBUTES,
    attempt,
    describe,
    flat,
    never_right,
    read_only,
    swapped,
    unaligned,
    wrong_arrays,
)

every_kernel = grouped("name", sorted(KERNELS))
UNUSED = {("batch_norm", 5)}  # outside training
# accept more than the type of their right value says: fractions, and one factor for each axis
WIDER = {("norm", "p"), ("std", "correction"), ("var", "correction")}
WIDER |= {(f"interpolate{backward}", "scale_factor") for backward in ("", "_backward")}
WITH_OUT = [name for name in KERNELS if "out:" in (getattr(kernels, name).__doc__ or "")]


def run(name: str, arrays: Any, attributes: dict[str, Any]) -> Any:
    return getattr(kernels, name)(*arrays, **attributes)


@every_kernel
def test_wrong_arrays(name: str) -> None:
    arrays, attributes = deepcopy(KERNELS[name])
    for at, right in enumerate(arrays):
        lists = isinstance(right, list)
        for wrong in wrong_arrays(right[0] if lists else right):
            for spoiled in ([wrong], [right[0], wrong], wrong) if lists else (wrong,):
                given = [*arrays[:at], spoiled, *arrays[at + 1 :]]
                never = never_right(wrong) and (name, at) not in UNUSED
                what = f"{name}, array {at}: {describe(spoiled)}"
                attempt(lambda g=given: run(name, g, attributes), what, never=never)


@every_kernel
def test_wrong_attributes(name: str) -> None:
    arrays, attributes = deepcopy(KERNELS[name])
    for key, right in attributes.items():
        for wrong in WRONG_ATTRIBUTES:
            given = {**attributes, key: wrong}
            never = never_right(wrong, None if (name, key) in WIDER else right)
            attempt(lambda g=given: run(name, arrays, g), f"{name}({key}={describe(wrong)})", never=never)


@every_kernel
def test_same_values_in_other_memory(name: str) -> None:
    """Unaligned, byte-swapped, read-only and strided arrays: the same answer."""
    arrays, attributes = KERNELS[name]
    expected = flat(run(name, deepcopy(arrays), attributes))
    assert expected
    for at, right in enumerate(arrays):
        for change in SAME_VALUES:
            changed: Any = [change(x) for x in right] if isinstance(right, list) else change(right)
            given = [*deepcopy(arrays[:at]), changed, *deepcopy(arrays[at + 1 :])]
            for y, want in zip(flat(run(name, given, attributes)), expected, strict=True):
                np.testing.assert_allclose(y, want, rtol=1e-6, err_msg=f"{name}, {at}, {change.__name__}")


@grouped("name", WITH_OUT)
def test_wrong_out(name: str) -> None:
    arrays, attributes = KERNELS[name]
    y = run(name, arrays, attributes)
    wide = np.zeros((*y.shape, 2), y.dtype)
    repeated = np.lib.stride_tricks.as_strided(wide, y.shape, (y.itemsize if y.ndim > 1 else 0,) * y.ndim)
    wrong = [read_only(y), y.astype("float64"), y[None], None, [1.0], "text", 3]
    wrong += [unaligned(y), swapped(y)] if y.itemsize > 1 else []
    wrong += [repeated] if y.size > 1 else []
    for out in wrong:
        what = f"{name}(out={describe(out)})"
        result = attempt(lambda o=out: run(name, arrays, {**attributes, "out": o}), what)
        assert result is None or out is None, what
    good = np.full_like(y, 7)
    assert run(name, arrays, {**attributes, "out": good}) is good
    np.testing.assert_array_equal(good, y)


@grouped("name", WITH_OUT)
def test_out_in_other_memory(name: str, isas: Any) -> None:
    """Between other elements, which stay; onto an operand, or refused there."""
    arrays, attributes = KERNELS[name]
    for _ in isas:
        y = run(name, arrays, attributes)
        for layout in ("", *LAYOUTS):
            memory = np.full(y.size + 64, 7, y.dtype)
            out = in_layout(np.zeros_like(y), layout) if layout else memory[: y.size].reshape(y.shape)
            assert run(name, arrays, {**attributes, "out": out}) is out
            np.testing.assert_array_equal(out, y)
            between = out.base[..., 1::2] if layout == "strided" and y.ndim else memory[y.size :]
            assert (between == np.asarray(7, y.dtype)).all()
    for at, x in enumerate(arrays):
        if isinstance(x, np.ndarray) and (x.shape, x.dtype) == (y.shape, y.dtype):
            operand = x.copy()
            given = [*arrays[:at], operand, *arrays[at + 1 :]]
            call = lambda g=given, o=operand: run(name, g, {**attributes, "out": o})  # noqa: E731
            if attempt(call, f"{name} onto array {at}") is not None:
                np.testing.assert_array_equal(operand, y)


@grouped("name", WITH_OUT)
def test_out_that_overlaps(name: str) -> None:
    """out= one element further on in the memory of an input."""
    arrays, attributes = KERNELS[name]
    y = run(name, arrays, attributes)
    for at, x in enumerate(arrays):
        if x.dtype != y.dtype:
            continue
        memory = np.zeros(x.size + y.size + 1, x.dtype)
        moved = memory[: x.size].reshape(x.shape)
        moved[...] = x
        out = memory[x.size - 1 : x.size - 1 + y.size].reshape(y.shape)
        given = [*arrays[:at], moved, *arrays[at + 1 :]]
        refused(ValueError, "overlaps", run, name, given, {**attributes, "out": out})


@every_kernel
def test_no_more_dimensions_than_eight(name: str) -> None:
    arrays, attributes = KERNELS[name]
    x = arrays[0][0] if isinstance(arrays[0], list) else arrays[0]
    deep = x.reshape((1,) * (9 - x.ndim) + x.shape)
    with pytest.raises(ValueError, match="at most 8"):
        run(name, [[deep] if x is not arrays[0] else deep, *arrays[1:]], attributes)


def test_numbers_beyond_any_range_are_refused() -> None:
    one = np.ones(2, np.uint8)
    refused(ValueError, "[masked_fill] got ", rv.masked_fill, one, np.array([True, False]), -1)
    refused(ValueError, "[scatter] got ", rv.scatter, one, 0, np.array([0]), -1)
    refused(ValueError, "[cat] got ", rv.cat, [one], 2**63)
    refused(ValueError, "[argmax] got ", rv.argmax, np.ones(2, ">f4"), 2**63)


def test_zero_norm_of_swapped_bytes() -> None:
    assert rv.norm(np.array([1.0, 0.0, 2.0], ">f4"), 0).item() == 2


def test_out_whose_elements_are_one() -> None:
    """Repeated rows of two, of one and of three are told from a dimension of one with any stride."""
    x = np.ones((2, 3), np.float32)
    for shape, strides in (((2, 3), (0, 4)), ((2, 3), (4, 4)), ((2, 3), (4, 0)), ((3, 2), (4, 4))):
        out = np.lib.stride_tricks.as_strided(np.zeros(9, np.float32), shape, strides)
        refused(ValueError, "[exp] got out", kernels.exp, x.reshape(shape), out=out)
    for shape, strides in (((1, 3), (0, 4)), ((3, 1), (4, 4)), ((2, 3), (4, 8))):
        out = np.lib.stride_tricks.as_strided(np.zeros(9, np.float32), shape, strides)
        np.testing.assert_array_equal(kernels.exp(np.zeros(shape, np.float32), out=out), 1)
