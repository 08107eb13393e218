"""Decorated methods, and copies of compiled steps: pickle, copy and the end of objects."""

import copy
import gc
import pickle
import weakref

import pytest
import ranvier as rv
from ranvier import nn
from support.strict import strict

X = rv.ones(4, 3)


@strict
def doubled(x):
    return x * 2


def tripled(x):
    return x * 3


class Learner:
    def __init__(self, cycle=False):
        self.model = nn.Linear(3, 2)
        self.optimizer = rv.optim.Adam(self.model.parameters())
        self.me = self if cycle else None

    @strict
    def step(self, x):
        self.optimizer.zero_grad()
        loss = (self.model(x) ** 2).mean()
        loss.backward()
        self.optimizer.step()
        return loss


class Slotted:
    __slots__ = ("factor",)

    @strict
    def times(self, x):
        return x * self.factor


class Predicts(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    @strict
    def twice(self, x):
        with rv.no_grad():
            return self.layer(x) * 2


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_decorated_function_is_pickled_by_its_name(protocol):
    assert pickle.loads(pickle.dumps(doubled, protocol)) is doubled
    assert pickle.loads(pickle.dumps(Learner.step, protocol)) is Learner.step


def test_copies_of_a_decorated_function_are_itself():
    assert copy.copy(doubled) is doubled
    assert copy.deepcopy(doubled) is doubled
    assert copy.deepcopy({"step": doubled})["step"] is doubled


AGAIN = [*(lambda x, p=p: pickle.loads(pickle.dumps(x, p)) for p in range(6)), copy.copy, copy.deepcopy]


@pytest.mark.parametrize("again", AGAIN)
def test_a_step_without_its_own_name_is_copied_without_programs(again):
    fast = strict(tripled, verify=3)
    for _ in range(4):
        fast(X)
    other = again(fast)
    assert other is not fast
    assert (other.__name__, other.programs) == ("tripled", [])
    assert [other(X).tolist() for _ in range(4)] == [[[3.0] * 3] * 4] * 4
    assert len(other.programs) == 1


@pytest.mark.parametrize("again", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy])
def test_an_object_with_compiled_methods_is_copied(again):
    rv.manual_seed(0)
    learner = Learner()
    for _ in range(4):
        learner.step(X)
    other = again(learner)
    assert other.step.programs == []
    for _ in range(5):
        assert other.step(X).item() == learner.step(X).item()
    assert len(other.step.programs) == len(learner.step.programs) == 1


def test_a_shallow_copy_has_its_own_programs():
    learner = Predicts()
    for _ in range(4):
        learner.twice(X)
    other = copy.copy(learner)
    assert other.twice(X).tolist() == learner.twice(X).tolist()
    assert other.twice.__func__ is not learner.twice.__func__
    gone = weakref.ref(learner)
    del learner
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("make", [Learner, lambda: Learner(cycle=True), Predicts])
def test_an_object_goes_with_its_programs(make):
    gone = []
    for _ in range(3):
        one = make()
        method = one.twice if isinstance(one, Predicts) else one.step
        for _ in range(5):
            method(X)
        assert len(method.programs) == 1
        gone.append(weakref.ref(one))
        del one, method
    gc.collect()
    assert [reference() for reference in gone] == [None] * 3


def test_objects_do_not_share_programs():
    learners = [Learner() for _ in range(3)]
    for learner in learners:
        expected = copy.deepcopy(learner)
        for _ in range(5):
            assert learner.step(X).item() == Learner.step._function(expected, X.clone()).item()
        assert len(learner.step.programs) == 1


def test_a_module_shows_nothing_of_its_programs():
    model = Predicts()
    before = repr(model), list(model.state_dict()), [name for name, _ in model.named_modules()]
    for _ in range(4):
        model.twice(X)
    assert (repr(model), list(model.state_dict()), [name for name, _ in model.named_modules()]) == before


def test_an_object_without_a_dict():
    one = Slotted()
    for factor in (2.0, 3.0):
        one.factor = factor
        assert [one.times(X[0]).tolist() for _ in range(4)] == [[factor] * 3] * 4


def test_a_redefined_class_has_its_own_steps():
    def make(factor):
        class Scales:
            @strict
            def scaled(self, x):
                return x * factor

        return Scales

    first, second = make(2.0), make(3.0)
    one = first()
    assert [one.scaled(X[0]).tolist() for _ in range(3)] == [[2.0] * 3] * 3
    one.__class__ = second
    assert [one.scaled(X[0]).tolist() for _ in range(3)] == [[3.0] * 3] * 3
