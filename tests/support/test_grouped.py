"""Tests that run a group of cases: none is left out, and one that fails or skips hides no other."""

import pytest
from support.grouped import grouped, in_groups
from support.refused import refused


def run(test, at, **fixtures):
    """The group of that number."""
    test(group=test.pytestmark[0].args[1][at], **fixtures)


def test_the_first_case_is_alone_and_every_case_is_in_one_group():
    groups = in_groups(range(9), 3)
    assert [list(group) for group in groups] == [[0], [1, 2, 3], [4, 5, 6], [7, 8]]


def test_a_failing_case_is_named(capsys):
    @grouped("n", range(9))
    def never_five(n, other):
        assert n != 5, other

    run(never_five, 0, other="x")
    refused(AssertionError, "x", run, never_five, 1, other="x")
    assert capsys.readouterr().out == "failed with {'n': 5}\n"


def test_cases_after_a_skipped_one_run_with_the_same_random_numbers(rng):
    seen = []

    @grouped(("a", "b"), [(0, 1), (1, 2), (2, 3), (3, 4)])
    def skips(a, b, rng):
        seen.append((a, b, rng.random()))
        if b == 3:
            pytest.skip("three")

    with pytest.raises(pytest.skip.Exception):
        run(skips, 1, rng=rng)
    assert [row[:2] for row in seen] == [(1, 2), (2, 3), (3, 4)]
    assert len({row[2] for row in seen}) == 1
