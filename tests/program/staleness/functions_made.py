"""Functions and classes that the step makes, caches, wrappers."""

import functools
import operator

import numpy as np
from program.staleness.functions import FUNCTIONS, Plain, once
from program.staleness.judge import Case, scenario
from program.staleness.small import Small, reading, trains
from ranvier.nn import functional as F


@scenario()
def optimizer_wrapped_in_a_class_of_the_user():
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
    combine = operator.mul

    def change(n):
        nonlocal combine
        combine = (None, operator.add, operator.sub, operator.truediv)[n]

    return trains(lambda x: (combine(x, 2.0), 1.5), change)


@scenario("either")
def cached_function_cleared():
    state = Plain(value=1.0)

    @functools.lru_cache
    def call(key):
        return state.value

    def change(n):
        state.value = 1.0 + n
        call.cache_clear()

    return reading(lambda: call("key"), change)


@scenario("either", neutral=True)
def cached_function_kept():
    state = Plain(value=1.0)

    @functools.cache
    def call(key):
        return state.value

    call("key")
    return reading(lambda: call("key"), lambda n: setattr(state, "value", 1.0 + n))


@scenario("works", neutral=True)
def function_that_is_not_called():
    holder = Plain(call=once, other=once)
    return reading(lambda: holder.call(1.5), lambda n: setattr(holder, "other", FUNCTIONS[n]))


@scenario("either")
def single_dispatch_registered():
    @functools.singledispatch
    def call(value):
        return 1.0

    return reading(lambda: call(1.5), lambda n: call.register(float, lambda value: value + n))


@scenario("either")
def numpy_function_on_numbers():
    state = Plain(value=2.0)
    return reading(lambda: float(np.sqrt(state.value)), lambda n: setattr(state, "value", 2.0 + n))


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

    state = Plain(value=2.0)

    def change(n):
        if n == 1:
            Maker.factor = 5.0
        else:
            state.value = 2.0 + n

    return reading(lambda: Maker(state.value).value, change)


@scenario()
def init_of_a_class_replaced():
    class Maker:
        def __init__(self):
            self.value = 1.0

    return reading(
        lambda: Maker().value,
        lambda n: setattr(Maker, "__init__", lambda self: setattr(self, "value", 1.0 + n)),
    )


@scenario()
def dataclass_made_in_the_step():
    import dataclasses

    @dataclasses.dataclass
    class Made:
        factor: float = 2.0
        more: float = dataclasses.field(default_factory=lambda: state.value)

    state = Plain(value=2.0)
    return reading(lambda: Made().more, lambda n: setattr(state, "value", 2.0 + n))
