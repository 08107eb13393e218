"""Compiled methods, of several instances."""

import types

import ranvier as rv
from program.staleness.judge import Case, scenario
from program.staleness.small import Small
from ranvier import nn

# --- ways of is_recording


@scenario()
def decorated_method(compile_step):
    class Learner:
        def __init__(self, seed):
            rv.manual_seed(seed)
            self.small, self.factor = Small(), 1.0

        @compile_step
        def step(self, x):
            return self.small.train(x, self.factor)

    learner = Learner(1)
    return Case(lambda x: learner.step(x), lambda n: setattr(learner, "factor", 1.0 + n), learner.small.watch)


@scenario()
def decorated_method_of_two_instances(compile_step):
    class Learner:
        def __init__(self, seed):
            rv.manual_seed(seed)
            self.small, self.factor = Small(), float(seed)

        @compile_step
        def step(self, x):
            return self.small.train(x, self.factor)

    learners = [Learner(1), Learner(2)]

    def change(n):
        learners[n % 2].factor += 1.0

    return Case(
        lambda x: [learner.step(x) for learner in learners],
        change,
        [learner.small.watch for learner in learners],
    )


@scenario()
def decorated_method_of_a_replaced_instance(compile_step):
    class Learner:
        def __init__(self, seed):
            rv.manual_seed(seed)
            self.small = Small()

        @compile_step
        def step(self, x):
            return self.small.train(x, 1.5)

    learner = Learner(1)

    def change(n):
        nonlocal learner
        learner = Learner(1 + n)

    return Case(lambda x: learner.step(x), change, lambda: learner.small.watch)


@scenario()
def decorated_method_of_a_subclass(compile_step):
    class Learner:
        factor = 1.0

        def __init__(self):
            self.small = Small()

        @compile_step
        def step(self, x):
            return self.small.train(x, self.factor)

    class Other(Learner):
        factor = 2.0

    learners = [Learner(), Other()]

    def change(n):
        Other.factor = 2.0 + n

    return Case(
        lambda x: [learner.step(x) for learner in learners],
        change,
        [learner.small.watch for learner in learners],
    )


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
