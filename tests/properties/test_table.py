"""What properties leave out are ops, and almost all the rest is tested."""

from samples import OPS

from properties.every import PROPERTIES
from properties.table import counted, load


def test_names_that_are_left_out_have_samples():
    load()
    for name, (left, _) in PROPERTIES.items():
        assert sorted(left.keys() - OPS.keys()) == [], name


def test_most_pairs_of_op_and_property_are_tested():
    load()
    tested, left_out = counted()
    assert tested / (tested + left_out) > 0.9
