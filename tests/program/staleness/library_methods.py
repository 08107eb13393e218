"""Compiled methods, of several instances."""

import types

import ranvier as rv
from program.staleness.judge import Case, scenario
from program.staleness.small import Small
from ranvier import nn


def learner_of(decorate):
    """A class with a decorated training step."""

    class Learner:
        factor = 1.0

        def __init__(self, seed=1):
            rv.manual_seed(seed)
            self.small = Small()

        @decorate
        def step(self, x):
            return self.small.train(x, self.factor)

    return Learner


@scenario()
def decorated_method(compile_step):
    learner = learner_of(compile_step)()
    return Case(lambda x: learner.step(x), lambda n: setattr(learner, "factor", 1.0 + n), learner.small.watch)


@scenario()
def decorated_method_of_two_instances(compile_step):
    kind = learner_of(compile_step)
    learners = [kind(1), kind(2)]

    def change(n):
        learners[n % 2].factor += 1.0

    return all_of(learners, change)


@scenario()
def decorated_method_of_a_replaced_instance(compile_step):
    kind = learner_of(compile_step)
    learner = kind()

    def change(n):
        nonlocal learner
        learner = kind(1 + n)

    return Case(lambda x: learner.step(x), change, lambda: learner.small.watch)


@scenario()
def decorated_method_of_a_subclass(compile_step):
    kind = learner_of(compile_step)
    other = type("Other", (kind,), {"factor": 2.0})
    return all_of([kind(), other()], lambda n: setattr(other, "factor", 2.0 + n))


def all_of(learners, change):
    watch = [learner.small.watch for learner in learners]
    return Case(lambda x: [learner.step(x) for learner in learners], change, watch)


@scenario()
def method_compiled_in_the_constructor(compile_step):
    class Learner:
        def __init__(self):
            self.small, self.factor = Small(), 1.0
            self.step = compile_step(self._step)

        def _step(self, x):
            return self.small.train(x, self.factor)

    learner = Learner()
    return Case(lambda x: learner.step(x), lambda n: setattr(learner, "factor", 1.0 + n), learner.small.watch)


@scenario()
def decorated_static_method(compile_step):
    small, state = Small(), types.SimpleNamespace(factor=1.0)

    class Learner:
        @staticmethod
        @compile_step
        def step(x):
            return small.train(x, state.factor)

    return Case(lambda x: Learner.step(x), lambda n: setattr(state, "factor", 1.0 + n), small.watch)


@scenario()
def decorated_class_method(compile_step):
    small = Small()

    class Learner:
        factor = 1.0

        @classmethod
        @compile_step
        def step(cls, x):
            return small.train(x, cls.factor)

    return Case(lambda x: Learner.step(x), lambda n: setattr(Learner, "factor", 1.0 + n), small.watch)


@scenario()
def decorated_method_of_a_module(compile_step):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.factor = nn.Linear(3, 3), 1.0

        @compile_step
        def score(self, x):
            return (self.layer(x) * self.factor).sum()

    net = Net()
    return Case(lambda x: net.score(x), lambda n: setattr(net, "factor", 1.0 + n), net)


@scenario()
def forward_compiled(compile_step):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.factor = nn.Linear(3, 3), 1.0

        def forward(self, x):
            return self.layer(x) * self.factor

    net = Net().eval()
    fast = compile_step(net)
    return Case(lambda x: fast(x), lambda n: setattr(net, "factor", 1.0 + n), net)
