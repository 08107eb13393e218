"""What a module registers by name, and modules that are in several places."""

import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused


@pytest.mark.parametrize("method", ["register_parameter", "register_buffer", "add_module"])
def test_names_that_are_refused(method):
    register = getattr(nn.Module(), method)
    for name in ("", "a.b", "forward"):
        with pytest.raises(KeyError, match=r"expected one without dots|already exists"):
            register(name, None)
    refused(TypeError, "got name 3; expected a string", register, 3, None)
    refused(KeyError, "without dots", nn.ModuleDict, {"a.b": nn.ReLU()})


@pytest.mark.parametrize(
    ("method", "value"), [("register_parameter", rv.ones(1)), ("register_buffer", 3), ("add_module", 3)]
)
def test_a_value_of_another_kind_leaves_the_module_as_it_is(method, value):
    model = nn.Linear(1, 1)
    with pytest.raises(TypeError, match=r"cannot assign .* 'x'; expected a"):
        getattr(model, method)("x", value)
    assert list(model.state_dict()) == ["weight", "bias"]
    assert list(model.modules()) == [model]
    getattr(model, method)("x", None)


def test_a_module_at_two_places_is_one_child():
    model = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    model.append(model[0])
    assert [name for name, _ in model.named_children()] == ["0", "1"]
    assert list(model.children()) == [model[0], model[1]]
    assert repr(model).count("Linear") == 2


def test_pop():
    for model in (
        nn.Sequential(nn.ReLU(), nn.Tanh(), nn.GELU()),
        nn.ModuleList([nn.ReLU(), nn.Tanh(), nn.GELU()]),
    ):
        assert isinstance(model.pop(0), nn.ReLU)
        assert isinstance(model.pop(-1), nn.GELU)
        assert [type(layer) for layer in model] == [nn.Tanh]
        with pytest.raises(IndexError):
            model.pop(1)


def test_a_mode_that_is_no_bool():
    refused(ValueError, "[train] got mode 3; expected True or False", nn.ReLU().train, 3)


@pytest.mark.parametrize(
    ("module", "name", "why"),
    [
        (rv.nn, "Conv3d", "volumes (N, C, D, H, W) are not part of this library (docs/versions.md)"),
        (rv.nn.functional, "max_pool3d", "volumes"),
        (rv.nn, "quantized", "quantised arithmetic"),
        (rv.nn, "CrossMapLRN2d", "LocalResponseNorm is the same"),
    ],
)
def test_a_name_that_is_not_here_says_why(module, name, why):
    refused(AttributeError, f"has no attribute {name!r}: {why}", getattr, module, name)
    assert not hasattr(module, name)
