"""Parameters and buffers keep a class that a program has derived from Tensor; so do inputs of transforms."""

import copy
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.autograd import functional


class Point(rv.Tensor):
    """A class with an attribute of its own."""


def point():
    x = Point([1.0, 2.0, 3.0])
    x.frame = "camera"
    return x


def test_an_object_with_the_mark_of_parameters_is_none():
    class Marked:
        _is_param = _is_buffer = True

    marked = Marked()
    marked._is_param = marked._is_buffer = True
    assert not isinstance(marked, nn.Parameter)
    assert not isinstance(marked, nn.Buffer)


def test_a_parameter_keeps_its_class():
    x = point()
    p = nn.Parameter(x)
    assert (type(p), p.frame, p.requires_grad) == (Point, "camera", True)
    assert isinstance(p, nn.Parameter)
    assert not isinstance(x, nn.Parameter)
    assert not isinstance(p.detach(), nn.Parameter)
    x.fill_(5.0)  # They share memory.
    assert p.tolist() == [5.0] * 3
    assert not nn.Parameter(x, requires_grad=False).requires_grad
    assert type(nn.Parameter(p)) is Point


def test_a_module_registers_it():
    module = nn.Module()
    module.w = nn.Parameter(point())
    module.b = nn.Buffer(point(), persistent=False)
    assert [name for name, _ in module.named_parameters()] == ["w"]
    assert [name for name, _ in module.named_buffers()] == ["b"]
    assert list(module.state_dict()) == ["w"]
    assert module.double() is module
    assert (type(module.w), module.w.dtype) == (Point, rv.float64)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert type(other.w) is Point
        assert isinstance(other.w, nn.Parameter)
        assert other.w.frame == "camera"
        assert isinstance(other.b, nn.Buffer)
    with pytest.raises(TypeError, match="cannot assign Point as parameter 'w'"):
        module.w = point()
    assert [type(p) for p in nn.ParameterList([module.w])] == [Point]


def test_derived_parameters_and_plain_tensors_as_before():
    class Mine(nn.Parameter):
        pass

    assert type(Mine(rv.ones(2))) is Mine
    assert type(nn.Parameter(Mine(rv.ones(2)))) is nn.Parameter
    assert isinstance(Mine(rv.ones(2)), nn.Parameter)
    assert not isinstance(nn.Parameter(rv.ones(2)), Mine)
    assert not isinstance(rv.ones(2), (nn.Parameter, nn.Buffer))
    assert not isinstance(nn.Buffer(rv.ones(2)), nn.Parameter)


TRANSFORMS = {
    "jacobian": lambda f, x: functional.jacobian(f, x),
    "vjp": lambda f, x: functional.vjp(f, x)[1],
    "jvp": lambda f, x: functional.jvp(f, x, rv.ones(3))[1],
    "hvp": lambda f, x: functional.hvp(f, x, rv.ones(3))[1],
    "hessian": lambda f, x: functional.hessian(f, x),
    "func.jvp": lambda f, x: rv.func.jvp(f, (x,), (rv.ones(3),))[1],
    "func.jacfwd": lambda f, x: rv.func.jacfwd(f)(x),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("trained", [False, True])
def test_transforms_give_the_function_the_class(name, trained):
    seen = []

    def f(x):
        seen.append((type(x), getattr(x, "frame", None)))
        return (x * x).sum()

    x = point()
    x.requires_grad_(trained)
    got = TRANSFORMS[name](f, x)
    assert set(seen) == {(Point, "camera")}
    expected = TRANSFORMS[name](lambda x: (x * x).sum(), rv.tensor([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(got.detach().numpy(), expected.numpy())


def test_transforms_give_the_function_no_parameters():
    """As in PyTorch: an input is a Tensor of its own, not the parameter."""
    seen = []
    functional.jacobian(lambda x: seen.append(type(x)) or x * x, nn.Parameter(rv.ones(2)))
    functional.jacobian(lambda x: seen.append(isinstance(x, nn.Parameter)) or x * x, nn.Parameter(point()))
    assert seen == [rv.Tensor, False]
