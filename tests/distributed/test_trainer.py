"""Trainer(distributed=True): the same bits on 1, 2, 4 and 8 ranks; its files, errors and resumed runs."""

import json

import pytest
import ranvier as rv
from support.distributed_runs import all_runs, network_with_everything
from support.ranks import results

ALL = "from support.distributed_runs import all_runs; from support.ranks import tell; tell(all_runs())"


@pytest.fixture(scope="module")
def alone():
    """What one process finds."""
    return json.loads(json.dumps(all_runs()))


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_same_bits_on_ranks(ranks, alone):
    for told in results(ranks, ALL):
        for name, expected in alone.items():
            assert told[name] == expected, name


def test_the_same_bits_eagerly_and_at_any_number_of_threads(alone):
    assert alone["eager"] == alone["network with everything"]
    before = rv.get_num_threads()
    try:
        for threads in {1, 2} - {before}:
            rv.set_num_threads(threads)
            found = network_with_everything()
            assert json.loads(json.dumps(found)) == alone["network with everything"]
    finally:
        rv.set_num_threads(before)
