"""Guards of a compiled step: what is compared before a replay; equal values may still differ for a step."""

import collections
import dataclasses
import functools
import gc
import types
import weakref

import numpy as np
import pytest
import ranvier as rv
from ranvier.program.walk import Walk
from support.strict import strict


def assert_seen(function, change):
    """A change between two calls, after the checks of calls 2 and 4, has the effect that it has in eager."""
    step, x = strict(function), rv.ones(2)
    for _ in range(5):
        assert step(x).tolist() == function(x).tolist()
    change()
    assert step(x).tolist() == function(x).tolist()


class Equal:
    """Equal to everything."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1


def number(value):
    """Distinguishes equal values."""
    return value.value if type(value) is Equal else 3.0 if type(value) is int else 1.0 + str(value).count("-")


def replace(container, value):
    container.clear()
    container.update([value]) if isinstance(container, set) else container.append(value)


def of_partial(value):
    part = functools.partial(number, value)
    return part, lambda: number(part.args[0]), lambda new: part.__setstate__((number, (new,), {}, {}))


def of_proxy(value):
    memory = {"a": value}
    proxy = types.MappingProxyType(memory)
    return proxy, lambda: number(proxy["a"]), lambda new: memory.__setitem__("a", new)


def of_items(kind):
    def make(value):
        items = kind([value])
        return items, lambda: number(next(iter(items))), lambda new: replace(items, new)

    return make


CONTAINERS = {
    "list": of_items(list),
    "deque": of_items(collections.deque),
    "set": of_items(set),
    "a list's subclass": of_items(type("Items", (list,), {})),
    "mapping proxy": of_proxy,
    "partial": of_partial,
}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("values", [(0.0, -0.0), (1, 1.0), (np.float32(0), np.float32(-0.0)), "objects"])
def test_an_item_is_replaced_by_one_that_is_equal(name, values):
    first, second = (Equal(1.0), Equal(2.0)) if values == "objects" else values
    held, read, change = CONTAINERS[name](first)

    def step(x):
        return x * read() if len([held]) else x

    assert_seen(step, lambda: change(second))


def test_a_method_that_is_none_in_the_class():
    """Like the __hash__ of a dataclass: it exists, and has not changed."""

    @dataclasses.dataclass
    class Settings:
        gain: float = 2.0

    settings = Settings()
    step = strict(lambda x: x * settings.gain)
    for _ in range(4):
        step(rv.ones(2))
    assert len(step.programs) == 1
    settings.gain = 3.0
    assert step(rv.ones(2)).tolist() == [3.0, 3.0]


def test_code_that_only_later_calls_run():
    settings, w = types.SimpleNamespace(gain=2.0), rv.nn.Parameter(rv.ones(2))

    def scale():
        return settings.gain

    @strict
    def step(x):
        factor = 1.0 if w.grad is None else scale()
        w.grad = None
        (w * x * factor).sum().backward()
        return w.grad.clone()

    x = rv.ones(2)
    assert [step(x).tolist()[0] for _ in range(5)] == [1.0, 2.0, 2.0, 2.0, 2.0]
    settings.gain = 3.0
    assert step(x).tolist() == [3.0, 3.0]


def test_objects_in_containers_among_the_arguments():
    settings = types.SimpleNamespace(gain=2.0)
    for held in ({"settings": settings}, [settings], (1, {"deep": [settings]})):
        settings.gain = 2.0

        def gain(held):
            while not hasattr(held, "gain"):
                held = held[-1] if isinstance(held, (list, tuple)) else next(iter(held.values()))
            return held.gain

        step = strict(lambda x, held, gain=gain: x * gain(held))
        for _ in range(5):
            assert step(rv.ones(2), held).tolist() == [2.0, 2.0]
        settings.gain = 3.0
        assert step(rv.ones(2), held).tolist() == [3.0, 3.0]


def test_guards_keep_nothing_that_only_a_cycle_holds():
    class Owner:
        def __init__(self):
            self.gain = 2.0
            self.step = strict(lambda x: x * self.gain)

    owner = Owner()
    for _ in range(3):
        owner.step(rv.ones(2))
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None


def test_an_attribute_of_a_number():
    gain = type("Gain", (float,), {})(1.0)
    gain.extra = 2.0
    assert_seen(lambda x: x * gain.extra, lambda: setattr(gain, "extra", 3.0))


def test_an_attribute_of_a_class_of_classes():
    meta = type("Meta", (type,), {"gain": 2.0})
    kind = meta("Kind", (), {})
    assert_seen(lambda x: x * kind.gain, lambda: setattr(meta, "gain", 3.0))


def test_attributes_that_the_program_adds_to_tensors():
    weight = rv.nn.Parameter(rv.ones(2))
    weight.scale = 2.0
    assert_seen(lambda x: weight.detach() * x * weight.scale, lambda: setattr(weight, "scale", 3.0))
    assert_seen(
        lambda x: weight.detach() * x * (weight.more if hasattr(weight, "more") else 1.0),
        lambda: setattr(weight, "more", 5.0),
    )


def test_a_check_searches_for_guards_only_where_there_may_be_others(monkeypatch):
    searches, run = [], Walk.run
    monkeypatch.setattr(Walk, "run", lambda walk, roots: (searches.append(1), run(walk, roots))[1])
    layer = rv.nn.Linear(3, 2)
    step = strict(lambda x: layer(x).sum().detach())
    for _ in range(20):
        step(rv.ones(2, 3))
    assert (len(searches), step.programs[0].checks) == (1, 4)


def test_hooks_to_which_no_name_leads():
    layer = rv.nn.Linear(3, 2)

    def step(x):
        layer.zero_grad()
        loss = layer(x).sum()
        loss.backward()
        return loss

    compiled, x = strict(step), rv.ones(2, 3)
    for factor in (2.0, 3.0):
        hook = layer.weight.register_hook(lambda gradient, factor=factor: gradient * factor)
        for _ in range(20):
            compiled(x)
            assert layer.weight.grad.tolist() == [[2.0 * factor] * 3] * 2
        hook.remove()


class Settings:
    first, second = 2.0, 3.0


def test_programs_of_several_shapes_run_different_code():
    settings = Settings()

    def other(x):
        return x * settings.second

    def step(x):
        return other(x) if len(x) == 5 else x * settings.first

    compiled = strict(step)
    for settings.first, settings.second in ((2.0, 3.0), (7.0, 9.0)):
        for n in (2, 3, 5) * 5:
            assert compiled(rv.ones(n)).tolist() == step(rv.ones(n)).tolist()


def test_a_function_that_is_defined_again():
    """As by a notebook whose cell is run twice: its code is equal to the first one's, but another object."""
    source = "def step(x):\n    return sum(x * i for i in [1.0, 2.0])\n"
    for _ in range(2):
        space = {}
        exec(compile(source, "cell", "exec"), space)
        assert strict(space["step"])(rv.ones(2)).tolist() == [3.0, 3.0]
