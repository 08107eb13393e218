"""Names that properties leave out are ops, and nearly all other ops are tested."""

from samples import OPS

from properties.every import PROPERTIES
from properties.table import counted, load, without_samples

CONTAINERS = "Module ModuleDict ModuleList ParameterDict ParameterList TransformerDecoder TransformerEncoder"
NO_LAYERS = "Buffer DataParallel KeyValueCache Parameter"
WITHOUT_SIZES = "LazyBatchNorm1d LazyBatchNorm2d LazyConv2d LazyLinear"


def test_every_op_and_layer_has_samples():
    others = [*CONTAINERS.split(), *NO_LAYERS.split(), *WITHOUT_SIZES.split(), "spmm"]
    assert sorted(without_samples()) == sorted(others)


def test_names_that_are_left_out_have_samples():
    load()
    for name, tested in PROPERTIES.items():
        assert sorted(tested.left_out.keys() - OPS.keys()) == [], name


def test_most_pairs_of_op_and_property_are_tested():
    load()
    tested, left_out = counted()
    assert tested / (tested + left_out) > 0.9
