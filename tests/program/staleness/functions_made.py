"""Functions and classes that the step makes, caches, wrappers."""

from __future__ import annotations

import functools
import operator

import numpy as np
from program.staleness.functions import FUNCTIONS, Plain, once
from program.staleness.judge import Case, scenario
from program.staleness.small import Small
from ranvier.nn import functional as F


@scenario()
def optimizer_wrapped_in_a_class_of_ones_own():
    class Halving:
        def __init__(self, inner, share):
            self.inner, self.share = inner, share

        def step(self):
            for group in self.inner.param_groups:
                group["lr"] = 0.1 * self.share
            self.inner.step()

    small = Small()
    wrapper = Halving(small.optimizer, 1.0)

    def step(x):
        wrapper.inner.zero_grad()
        loss = (x * small.w).sum()
        loss.backward()
        wrapper.step()
        return loss

    return Case(step, lambda n: setattr(wrapper, "share", 1.0 + n), small.watch)


@scenario()
def loss_function_rebound():
    small, loss_of = Small(), F.mse_loss

    def step(x):
        small.optimizer.zero_grad()
        loss = loss_of(x * small.w, x * 2)
        loss.backward()
        small.optimizer.step()
        return loss

    def change(n):
        nonlocal loss_of
        loss_of = (None, F.l1_loss, F.smooth_l1_loss, F.mse_loss)[n]

    return Case(step, change, small.watch)


@scenario()
def operator_function_rebound():
    small, combine = Small(), operator.mul

    def step(x):
        return small.train(combine(x, 2.0), 1.5)

    def change(n):
        nonlocal combine
        combine = (None, operator.add, operator.sub, operator.truediv)[n]

    return Case(step, change, small.watch)


@scenario("either")
def cached_function_cleared():
    small, state = Small(), Plain(value=1.0)

    @functools.lru_cache
    def call(key):
        return state.value

    def step(x):
        return small.train(x, call("key"))

    def change(n):
        state.value = 1.0 + n
        call.cache_clear()

    return Case(step, change, small.watch)


@scenario("either", neutral=True)
def cached_function_kept():
    small, state = Small(), Plain(value=1.0)

    @functools.cache
    def call(key):
        return state.value

    call("key")

    def step(x):
        return small.train(x, call("key"))

    return Case(step, lambda n: setattr(state, "value", 1.0 + n), small.watch)


@scenario("works", neutral=True)
def function_that_is_not_called():
    small, holder = Small(), Plain(call=once, other=once)

    def step(x):
        return small.train(x, holder.call(1.5))

    return Case(step, lambda n: setattr(holder, "other", FUNCTIONS[n]), small.watch)


@scenario("either")
def single_dispatch_registered():
    @functools.singledispatch
    def call(value):
        return 1.0

    small = Small()

    def step(x):
        return small.train(x, call(1.5))

    return Case(step, lambda n: call.register(float, lambda value: value + n), small.watch)


@scenario("either")
def numpy_function_on_numbers():
    small, state = Small(), Plain(value=2.0)

    def step(x):
        return small.train(x, float(np.sqrt(state.value)))

    return Case(step, lambda n: setattr(state, "value", 2.0 + n), small.watch)


@scenario()
def class_made_in_the_step():
    small, state = Small(), Plain(value=2.0)

    def step(x):
        class Local:
            factor = state.value

        return small.train(x, Local.factor)

    return Case(step, lambda n: setattr(state, "value", 2.0 + n), small.watch)


@scenario()
def function_made_in_the_step():
    small, state = Small(), Plain(value=2.0)

    def step(x):
        def local(factor=state.value):
            return factor + state.value

        return small.train(x, local())

    return Case(step, lambda n: setattr(state, "value", 2.0 + n), small.watch)


@scenario()
def object_made_in_the_step():
    class Maker:
        factor = 2.0

        def __init__(self, more):
            self.value = self.factor + more

    small, state = Small(), Plain(value=2.0)

    def step(x):
        return small.train(x, Maker(state.value).value)

    def change(n):
        if n == 1:
            Maker.factor = 5.0
        else:
            state.value = 2.0 + n

    return Case(step, change, small.watch)


@scenario()
def init_of_a_class_replaced():
    class Maker:
        def __init__(self):
            self.value = 1.0

    small = Small()

    def step(x):
        return small.train(x, Maker().value)

    return Case(
        step, lambda n: setattr(Maker, "__init__", lambda self: setattr(self, "value", 1.0 + n)), small.watch
    )


@scenario()
def dataclass_made_in_the_step():
    import dataclasses

    @dataclasses.dataclass
    class Made:
        factor: float = 2.0
        more: float = dataclasses.field(default_factory=lambda: state.value)

    small, state = Small(), Plain(value=2.0)

    def step(x):
        return small.train(x, Made().more)

    return Case(step, lambda n: setattr(state, "value", 2.0 + n), small.watch)
