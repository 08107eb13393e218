"""The call of a module, which the core makes, and Python where hooks, arrays or a recording take part.

Arguments, errors, references and signatures must be those of a call that is written in Python.
"""

import abc
import copy
import gc
import inspect
import sys
from contextlib import suppress

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused


class Takes(nn.Module):
    """Keeps the arguments of its forward pass."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(rv.ones(2))
        self.given = ()

    def forward(self, *args, **kwargs):
        self.given = args, kwargs
        return args[0] if args else None


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 14, 15, 16, 40])
def test_arguments_arrive_as_they_are(count, grad):
    model, args = Takes(), tuple(rv.ones(2) for _ in range(count))
    names = {f"n{i}": i for i in range(count)}
    with rv.set_grad_enabled(grad):
        for kwargs in ({}, {"one": None}, names):
            result = model(*args, **kwargs)
            assert result is (args[0] if args else None)
            given, by_name = model.given
            assert by_name == kwargs
            assert all(a is b for a, b in zip(given, args, strict=True))


def test_arrays_become_tensors():
    model, x = Takes(), np.ones((3, 2))
    for grad in (True, False):
        with rv.set_grad_enabled(grad):
            model(x, 1, key=x)
        (tensor, number), names = model.given
        assert type(tensor) is type(names["key"]) is rv.Tensor
        assert tensor.dtype == names["key"].dtype == rv.float32
        assert number == 1


def test_arrays_of_objects_are_passed_on_to_a_class_of_the_user():
    """As tianshou gives its networks the infos of an environment; a layer refuses them."""
    model = Takes()
    infos = np.array([{"step": 1}, None], object)
    model(np.ones(2), infos, key=infos)
    (tensor, given), names = model.given
    assert type(tensor) is rv.Tensor
    assert given is names["key"] is infos
    with pytest.raises(TypeError, match=r"^\[Linear\] got dtype object"):
        rv.nn.Linear(2, 1)(infos)


def test_references_are_given_back():
    model, x, key = Takes(), rv.ones(2), object()
    model.forward = lambda *args, **kwargs: None

    def wrong(*args, **kwargs):
        raise ValueError("no")

    def counts():
        gc.collect()
        return [sys.getrefcount(o) for o in (model, x, key, model.forward, wrong)]

    for forward in (model.forward, wrong):
        model.forward = forward
        before = None
        for grad in (True, False):
            for _ in range(60):
                for args, kwargs in (((x,), {}), ((x, key), {"key": key}), ((x,) * 20, {})):
                    with rv.set_grad_enabled(grad), suppress(ValueError):
                        model(*args, **kwargs)
                before = before or counts()
        assert counts() == before


class Outer(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize("grad", [True, False])
def test_errors_name_the_layer(grad):
    model = Outer(Outer(nn.Linear(3, 2)))
    with rv.set_grad_enabled(grad), pytest.raises(ValueError, match=r'\(in layer "inner.inner"\)$') as raised:
        model(rv.ones(2, 4))
    assert raised.value.__traceback__ is not None
    for kind in (KeyboardInterrupt, SystemExit, StopIteration, GeneratorExit):
        layer = nn.Identity()
        layer.forward = lambda x, kind=kind: (_ for _ in ()).throw(kind("text"))
        with rv.set_grad_enabled(grad), pytest.raises((kind, RuntimeError)):
            Outer(layer)(rv.ones(1))


def test_an_error_of_the_error():
    class Odd(Outer):
        def _rv_locate(self, error):
            raise TypeError("while it is located") from error

    refused(TypeError, "while it is located", Odd(nn.Linear(3, 2)), rv.ones(2, 4))


def test_attributes_of_its_own_kind():
    names = []

    class Asked(Outer):
        def __getattribute__(self, name):
            names.append(name)
            return super().__getattribute__(name)

    class Late(Outer):
        def __getattr__(self, name):
            if name == "forward":
                raise AssertionError(name)
            return super().__getattr__(name)

    x = rv.ones(2, 3)
    for kind in (Asked, Late):
        model = kind(nn.Linear(3, 2))
        assert model(x).shape == (2, 2)
    assert {"forward", "_rv_hooks"} <= set(names)


def test_signatures():
    class Own(nn.Linear):
        def __call__(self, x, twice=False):
            return super().__call__(x)

    model = nn.Sequential(nn.Linear(3, 2))
    assert str(inspect.signature(model)) == str(inspect.signature(model.__call__)) == "(*args, **kwargs)"
    assert inspect.signature(model) is inspect.signature(model)  # no text is parsed
    assert list(inspect.signature(nn.Linear).parameters)[:2] == ["in_features", "out_features"]
    assert str(inspect.signature(Own(3, 2))) == "(x, twice=False)"
    assert list(inspect.signature(Own).parameters)[:2] == ["in_features", "out_features"]


def test_getattr_of_the_base_class():
    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(super().__getattr__("inner"), name)

    class Further(Wrapper, abc.ABC):
        def __getattr__(self, name):
            return super().__getattr__(name)

    class Direct(nn.Linear):
        def layer(self, name):
            return self.__getattr__(name)

    for kind in (Wrapper, Further):
        model = kind(nn.Linear(3, 2))
        assert model.in_features == copy.deepcopy(model).in_features == 3
        with pytest.raises(AttributeError, match="no attribute 'unknown'"):
            _ = model.unknown
    assert Direct(3, 2).layer("weight").shape == (2, 3)
    assert not hasattr(nn.Linear(3, 2), "__getattr__")


def test_hooks_and_functions_of_an_object():
    model, x = Outer(nn.Identity()), rv.ones(2)
    handle = model.register_forward_hook(lambda module, args, y: y * 2)
    assert model(x).tolist() == [2.0, 2.0]
    handle.remove()
    assert model(x) is x
    model.forward = lambda x: x + 1
    assert model(x).tolist() == [2.0, 2.0]
    refused(NotImplementedError, "forward is not defined", nn.Module(), x)


def test_a_subclass_calls_it():
    class Twice(Outer):
        def __call__(self, x, **kwargs):
            return super().__call__(super().__call__(x, **kwargs))

    model = Twice(nn.Linear(2, 2))
    x = rv.ones(1, 2)
    assert model(x).tolist() == model.inner(model.inner(x)).tolist()
    assert nn.Module.__call__(model, x).tolist() == model.inner(x).tolist()
    with pytest.raises(TypeError):
        nn.Module.__call__(x)
    assert list(inspect.signature(nn.Module.__call__).parameters) == ["self", "args", "kwargs"]


def test_a_module_without_init_or_without_end():
    class Bare(nn.Module):
        def __init__(self):
            pass

        def forward(self, x):
            return x

    class Loop(nn.Module):
        def forward(self, x):
            return self(x)

    assert Bare()(rv.ones(1)).item() == 1
    for grad in (True, False):
        with rv.set_grad_enabled(grad), pytest.raises(RecursionError):
            Loop()(rv.ones(1))
