"""A module that is replayed by itself, whose memory or code is changed, wrapped, watched or copied."""

import copy
import gc
import pickle
import sys
import weakref

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits
from compile.staleness.judge import as_written
from compile.test_repeated import OFTEN, Base, Blocks, X, call_of, mlp, played, replays, same
from ranvier import nn
from support.threads import in_threads

pytestmark = pytest.mark.usefixtures("replayed_soon")


# --- code that has to run
def test_a_debugger_sees_the_code():
    model, seen = played(Base), []
    for get, watch in ((sys.gettrace, sys.settrace), (sys.getprofile, sys.setprofile)):
        before = get()
        seen.clear()
        watch(lambda frame, event, arg: seen.append(frame.f_code))
        try:
            with rv.no_grad():
                model(X)
        finally:
            watch(before)
        assert Base.forward.__code__ in seen


# --- copies, and what is left of it
@pytest.mark.parametrize("make", [mlp, Base])
def test_copies_and_files_have_no_program(make):
    model = played(make)
    for twin in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert call_of(twin) is None
        assert same(twin, X, calls=1) == same(model, X, calls=1)


@rv.no_grad()
def test_copies_of_its_dict():
    """A copy is another network; two objects with the same one have a call each."""
    model = played()
    twin, shares = nn.Sequential(), nn.Sequential(nn.Linear(6, 3))
    own_dict = vars(shares)
    shares.__dict__ = model.__dict__
    twin.__dict__.update(model.__dict__)
    twin._modules = {**model._modules, "0": nn.Linear(6, 16)}
    for _ in range(OFTEN):
        found = [same(m, X, calls=1) for m in (model, shares, twin)]
    assert found[0] == found[1] != found[2]
    assert replays(twin)
    gc.collect()
    assert [call_of(m).owner is m for m in (model, shares)] == [True, True]
    shares.__dict__ = own_dict
    assert same(shares, X, calls=1) != found[0]


def traces(model):
    return pickle.dumps(model), [*vars(model)], dir(model), model.__sizeof__(), repr(model)


def test_nothing_of_it_is_in_the_module():
    model = mlp()
    model._replay = [1]  # names of the user are free
    before = traces(model)
    for name in vars(model):
        same(model, X)
        gc.collect()
        assert replays(model), name
    assert traces(model) == before
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("make", [mlp, Blocks])
def test_several_threads(make):
    model = make()
    work = rv.no_grad()(lambda number: [bits(model(X)) for _ in range(200)])
    assert len({found for each in in_threads(4, work) for found in each}) == 1


@pytest.mark.parametrize("make", [mlp, Base])
def test_within_a_compiled_step_and_transforms(make):
    model = played(make)
    stacked = rv.stack([X, X * 2])
    with rv.no_grad():
        expected = bits(model(X))
        step = rv.compile(lambda x: model(x) * 1, strict=True)
        assert [bits(step(X)) for _ in range(4)] == [expected] * 4
        assert bits(rv.func.vmap(model)(stacked)) == bits(as_written(model, stacked))
        parameters = {name: rv.stack([p, p * 0]) for name, p in model.named_parameters()}
        for _ in range(20):
            both = rv.func.vmap(lambda p: rv.func.functional_call(model, p, (X,)))(parameters)
            assert np.allclose(both[0].numpy(), model(X).numpy(), atol=1e-6)
            assert not both[1].any()
        assert bits(model(X)) == expected
    tangents = [rv.func.jvp(f, (X,), (rv.ones(4, 6),))[1] for f in (model, lambda x: as_written(model, x))]
    assert bits(tangents[0]) == bits(tangents[1])
