"""Checks of the benchmark of function transforms: its rows, ratios and comparisons, without a peer.

Answers of ranvier are compared with NumPy's.
"""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv

from benchmarks.transforms.measure import compare
from benchmarks.transforms.of_ops import dropout_moments, families, op_rows
from benchmarks.transforms.results import Result, cells, header, summary
from benchmarks.transforms.tables import ROWS, TITLES
from benchmarks.transforms.worker import call_of_tensors, leaves_of, moments_of

SOFTMAX = ROWS["A", "softmax, 5000 x 8"]


def test_each_table_has_rows_with_different_names() -> None:
    assert {table for table, _ in ROWS} == set(TITLES)
    assert len({row.name for row in op_rows()}) == len(op_rows()) == 4 * len(families())


def test_the_slices_of_an_op_are_in_the_dimension_of_its_name() -> None:
    first = ROWS["B", "softmax, 64 slices, first dimension"].inputs()[0]
    last = ROWS["B", "softmax, 64 slices, last dimension"].inputs()[0]
    np.testing.assert_array_equal(first, np.transpose(last))


def test_the_answer_of_a_row_is_that_of_its_inputs() -> None:
    row = ROWS["B", "matmul, 64 slices, last dimension"]
    x, y = row.inputs()
    found = call_of_tensors(rv, row, "ranvier")().numpy()
    np.testing.assert_allclose(found, np.einsum("ijn,jkn->nik", x, y), rtol=1e-5, atol=1e-5)


def test_results_of_a_dict_are_in_the_order_of_their_names() -> None:
    assert leaves_of({"b": 1, "a": (2, [3])}) == [2, 3, 1]


def test_a_ratio_is_of_the_fastest_peer_in_the_same_mode() -> None:
    seconds = {"ranvier": 2.0, "torch.func": 3.0, "jax": 4.0, "rv.compile": 1.0, "jax.jit": 0.5}
    result = Result(SOFTMAX, seconds)
    assert result.ratio("eager") == 1.5
    assert result.ratio("compiled") == 0.5
    assert len(cells(result)) == len(header("A"))


def test_a_way_that_fails_is_told_and_has_no_ratio() -> None:
    result = Result(SOFTMAX, {"torch.func": 3.0}, {"ranvier": "ValueError: no\nmore"})
    assert result.ratio("eager") is None
    assert list(summary("A", [result])) == ["A, softmax, 5000 x 8: ranvier fails: ValueError: no"]


def test_an_answer_further_away_than_rounding_is_refused() -> None:
    reference = [([2], [1.0, 2.0])]
    compare(SOFTMAX, [([2], [1.0, 2.0 + 1e-7])], reference)
    for wrong in ([([2], [1.0, 2.001])], [([1, 2], [1.0, 2.0])], [], [([2], [1.0, float("nan")])]):
        with pytest.raises(AssertionError, match=r"expected|allowed"):
            compare(SOFTMAX, wrong, reference)


def test_moments_of_dropout_tell_other_masks_from_the_same() -> None:
    rng = np.random.default_rng(0)
    masks = (rng.random((64, 16)) < 0.75) / 0.75
    for values, is_right in ((masks, True), (np.broadcast_to(masks[0], masks.shape), False)):
        are_near = [
            abs(value - expected) <= allowed
            for value, (expected, allowed) in zip(moments_of(values), dropout_moments(64, 16), strict=True)
        ]
        assert all(are_near) is is_right
