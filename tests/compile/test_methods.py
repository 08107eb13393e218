"""Decorated methods, and copies of compiled steps: pickle and copy.

A step that is called again on a copy has to give the results of the same method called without compiling.
"""

import copy
import pickle

import pytest
import ranvier as rv
from compile.beside import squares
from ranvier import nn
from support.strict import strict
from support.training import training

X = rv.ones(4, 3)


@strict
def doubled(x):
    return x * 2


def tripled(x):
    return x * 3


class Learner:
    """A class with a compiled method; cycle: it refers to itself."""

    def __init__(self, cycle=False):
        rv.manual_seed(0)
        self.model = nn.Linear(3, 2)
        self.optimizer = rv.optim.Adam(self.model.parameters())
        self.me = self if cycle else None

    @strict
    def step(self, x):
        return training(self.model, self.optimizer, squares)(x)


class Predicts(nn.Module):
    """A module with a compiled method."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    @strict
    def step(self, x):
        with rv.no_grad():
            return self.layer(x) * 2


class Slotted:
    __slots__ = ("factor",)

    @strict
    def times(self, x):
        return x * self.factor


def pickled(protocol):
    return lambda x: pickle.loads(pickle.dumps(x, protocol))


AGAIN = [*map(pickled, range(pickle.HIGHEST_PROTOCOL + 1)), copy.copy, copy.deepcopy]


@pytest.mark.parametrize("again", AGAIN)
def test_copies(again):
    """The copy of a decorated function is itself, that of a step without its own name has no programs."""
    assert again(doubled) is doubled
    assert again(Learner.step) is Learner.step
    assert again([doubled])[0] is doubled
    fast = strict(tripled, verify=3)
    for _ in range(4):
        fast(X)
    other = again(fast)
    assert other is not fast
    assert (other.__name__, other.programs) == ("tripled", [])
    assert [other(X).tolist() for _ in range(4)] == [[[3.0] * 3] * 4] * 4
    assert len(other.programs) == 1


@pytest.mark.parametrize("again", [pickled(5), copy.deepcopy, copy.copy])
@pytest.mark.parametrize("kind", [Learner, Predicts])
def test_an_object_with_compiled_methods_is_copied(kind, again):
    one = kind()
    for _ in range(4):
        one.step(X)
    other = again(one)
    assert other.step.programs == []
    expected = copy.deepcopy(one)  # a shallow copy has the same model
    for _ in range(5):
        assert other.step(X).tolist() == kind.step._function(expected, X.clone()).tolist()
    assert len(other.step.programs) == len(one.step.programs) == 1


def test_a_module_shows_nothing_of_its_programs():
    def shown():
        named = [name for name, _ in model.named_modules()]
        return repr(model), list(model.state_dict()), named, list(vars(model))

    model = Predicts()
    before = shown()
    for _ in range(4):
        model.step(X)
    assert shown() == before


def test_an_object_without_a_dict():
    one = Slotted()
    for one.factor in (2.0, 3.0):
        assert [one.times(X[0]).tolist() for _ in range(4)] == [[one.factor] * 3] * 4


def test_a_redefined_class_has_its_own_steps():
    def scales(factor):
        return type("Scales", (), {"scaled": strict(lambda self, x: x * factor)})

    first, second = scales(2.0), scales(3.0)
    one = first()
    assert [one.scaled(X[0]).tolist() for _ in range(3)] == [[2.0] * 3] * 3
    one.__class__ = second
    assert [one.scaled(X[0]).tolist() for _ in range(3)] == [[3.0] * 3] * 3
