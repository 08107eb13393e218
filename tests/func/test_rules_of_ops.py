"""Which ops have a batching rule, by running all samples under vmap; docs/transforms.md names the others."""

import os
import warnings
from pathlib import Path

import pytest
import ranvier as rv
from ranvier.tensors import batched
from samples import OPS

PAGE = Path(__file__).parents[2] / "docs" / "transforms.md"
BEGIN = "<!-- ops that loop: RANVIER_WRITE=1 pytest tests/func/test_rules_of_ops.py -->\n"
END = "<!-- end -->"
LEAST = 480  # ops with a batching rule


def loops(sample):
    """Whether a sample of an op runs slice by slice under vmap, with a gradient where it has one; None if it
    cannot be tried, because nothing can be sliced or because its result depends on values."""
    call = sample.tensors(rv.float32)
    values = call.leaves or call.inputs  # of integers without a gradient
    if not values:
        return None
    slices = [rv.stack([x.detach()] * 3) for x in values]
    batched._warned.clear()

    def function(*xs):
        return tuple(call.with_leaves(*xs) if call.leaves else call.with_inputs(*xs))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            rv.vmap(function, randomness="same")(*slices)
        except (RuntimeError, TypeError, ValueError):
            return None
    return any("has no batching rule" in str(warning.message) for warning in caught)


@pytest.fixture(scope="module")
def found():
    """For each op whether some sample loops; None if no sample can be tried."""
    answers = {}
    for name, op in OPS.items():
        tried = [loops(sample) for sample in op.all_samples if sample.error is None]
        known = [answer for answer in tried if answer is not None]
        answers[name] = any(known) if known else None
    return answers


def test_most_ops_have_a_rule(found):
    with_rule = [name for name, loop in found.items() if loop is False]
    assert len(with_rule) >= LEAST


def test_the_page_names_the_others(found):
    names = sorted(name for name, loop in found.items() if loop)
    text = " ".join(f"`{name}`" for name in names) + "\n"
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    listed, _, after = rest.partition(END)
    if "RANVIER_WRITE" in os.environ:
        PAGE.write_text(before + BEGIN + text + END + after)
    else:
        assert listed == text
