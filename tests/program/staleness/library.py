"""State of the library between two calls, and the ways in which steps are captured and called."""

from __future__ import annotations

import concurrent.futures
import functools
import threading
import types

import numpy as np
import ranvier as rv
from program.staleness.judge import Case, add, default_inputs, labelled, scenario
from program.staleness.small import Small, classifies, network
from ranvier import _core, nn, optim
from ranvier.nn import functional as F

LEVELS = _core.supported_isas()


def state(change):
    def build():
        model = network(nn.Dropout(0.3))
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
        step = classifies(model, optimizer)
        return Case(step, change, [model, optimizer], labelled)

    return build


def eager_work(n):
    w = nn.Parameter(rv.ones(3))
    (w * 2).sum().backward()


def another_capture(n):
    other = rv.compile(lambda x: x * 2.0)
    for _ in range(4):
        other(rv.ones(2))


STATES = {
    "threads": (lambda n: rv.set_num_threads((1, 2, 1, 2)[n]), True),
    "isa": (lambda n: _core.set_isa(LEVELS[n % len(LEVELS)]), None),
    "seed": (lambda n: rv.manual_seed(n), False),
    "random_state_restored": (lambda n: rv.set_rng_state(rv.get_rng_state()), True),
    "numbers_drawn_outside": (lambda n: rv.randn(n), False),
    "cache_emptied": (lambda n: rv.empty_cache(), True),
    "eager_work": (eager_work, True),
    "another_capture": (another_capture, True),
    "winograd": (lambda n: rv.set_winograd(n % 2 == 0), True),
}
for name, (change, neutral) in STATES.items():
    if neutral is not None:
        add(f"library/{name}", state(change), neutral=neutral)


def under(switch):
    """The caller switches gradients off and on between calls."""

    def build(capture):
        small, mode = Small(), {"grad": True}

        def step(x):
            y = x * small.w
            loss = (y * y).sum()
            if loss.requires_grad:
                small.w.grad = None
                loss.backward()
                return loss * 2.0
            return loss

        fast = capture(step)

        def call(x):
            return switch(mode["grad"], fast, x)

        return Case(call, lambda n: mode.update(grad=n % 2 == 0), small.watch)

    return build


def by_context(enabled, fast, x):
    if enabled:
        return fast(x)
    with rv.no_grad():
        return fast(x)


def by_function(enabled, fast, x):
    before = rv.is_grad_enabled()
    rv.set_grad_enabled(enabled)
    try:
        return fast(x)
    finally:
        rv.set_grad_enabled(before)


def by_decorator(enabled, fast, x):
    return fast(x) if enabled else rv.no_grad()(fast)(x)


for switch in (by_context, by_function, by_decorator):
    add(f"library/gradients_off_{switch.__name__}", under(switch))


@scenario("either")
def state_of_the_library_read():
    small = Small()

    def step(x):
        return small.train(x, float(rv.get_num_threads()))

    return Case(step, lambda n: rv.set_num_threads(1 + n % 2), small.watch)


@scenario("either")
def winograd_read():
    small = Small()

    def step(x):
        return small.train(x, 2.0 if rv.get_winograd() else 1.0)

    return Case(step, lambda n: rv.set_winograd(n % 2 == 0), small.watch)


@scenario("either")
def grad_mode_set_inside():
    small, mode = Small(), {"grad": False}

    def step(x):
        with rv.set_grad_enabled(mode["grad"]):
            penalty = (small.w * small.w).sum()
        y = x * small.w
        small.w.grad = None
        loss = y.sum() + penalty
        loss.backward()
        return loss

    return Case(step, lambda n: mode.update(grad=n % 2 == 1), small.watch)


# --- ways of capturing


@scenario()
def decorated_method(capture):
    class Learner:
        def __init__(self, seed):
            rv.manual_seed(seed)
            self.small, self.factor = Small(), 1.0

        @capture
        def step(self, x):
            return self.small.train(x, self.factor)

    learner = Learner(1)
    return Case(lambda x: learner.step(x), lambda n: setattr(learner, "factor", 1.0 + n), learner.small.watch)


@scenario()
def decorated_method_of_two_instances(capture):
    class Learner:
        def __init__(self, seed):
            rv.manual_seed(seed)
            self.small, self.factor = Small(), float(seed)

        @capture
        def step(self, x):
            return self.small.train(x, self.factor)

    learners = [Learner(1), Learner(2)]

    def step(x):
        return [learner.step(x) for learner in learners]

    def change(n):
        learners[n % 2].factor += 1.0

    return Case(step, change, [learner.small.watch for learner in learners])


@scenario()
def decorated_method_of_a_replaced_instance(capture):
    class Learner:
        def __init__(self, seed):
            rv.manual_seed(seed)
            self.small = Small()

        @capture
        def step(self, x):
            return self.small.train(x, 1.5)

    learner = Learner(1)

    def change(n):
        nonlocal learner
        learner = Learner(1 + n)

    return Case(lambda x: learner.step(x), change, lambda: learner.small.watch)


@scenario()
def decorated_method_of_a_subclass(capture):
    class Learner:
        factor = 1.0

        def __init__(self):
            self.small = Small()

        @capture
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
def method_captured_in_the_constructor(capture):
    class Learner:
        def __init__(self):
            self.small, self.factor = Small(), 1.0
            self.step = capture(self._step)

        def _step(self, x):
            return self.small.train(x, self.factor)

    learner = Learner()
    return Case(lambda x: learner.step(x), lambda n: setattr(learner, "factor", 1.0 + n), learner.small.watch)


@scenario()
def decorated_static_method(capture):
    small, state = Small(), types.SimpleNamespace(factor=1.0)

    class Learner:
        @staticmethod
        @capture
        def step(x):
            return small.train(x, state.factor)

    return Case(lambda x: Learner.step(x), lambda n: setattr(state, "factor", 1.0 + n), small.watch)


@scenario()
def decorated_class_method(capture):
    small = Small()

    class Learner:
        factor = 1.0

        @classmethod
        @capture
        def step(cls, x):
            return small.train(x, cls.factor)

    return Case(lambda x: Learner.step(x), lambda n: setattr(Learner, "factor", 1.0 + n), small.watch)


@scenario()
def decorated_method_of_a_module(capture):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.factor = nn.Linear(3, 3), 1.0

        @capture
        def score(self, x):
            return (self.layer(x) * self.factor).sum()

    net = Net()
    return Case(lambda x: net.score(x), lambda n: setattr(net, "factor", 1.0 + n), net)


@scenario()
def forward_captured(capture):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.factor = nn.Linear(3, 3), 1.0

        def forward(self, x):
            return self.layer(x) * self.factor

    net = Net().eval()
    fast = capture(net)
    return Case(lambda x: fast(x), lambda n: setattr(net, "factor", 1.0 + n), net)


@scenario()
def compiled_within_compiled(capture):
    small, state = Small(), types.SimpleNamespace(factor=1.0)

    @capture
    def inner(x):
        return x * state.factor

    @capture
    def step(x):
        return small.train(inner(x), 1.5)

    return Case(step, lambda n: setattr(state, "factor", 1.0 + n), small.watch)


@scenario()
def compiled_alone_and_within(capture):
    small, state = Small(), types.SimpleNamespace(factor=1.0)

    @capture
    def inner(x):
        return x * state.factor

    @capture
    def step(x):
        return small.train(inner(x), 1.5)

    def call(x):
        return inner(x), step(x), inner(x)

    return Case(call, lambda n: setattr(state, "factor", 1.0 + n), small.watch)


@scenario()
def compiled_model_within_a_step(capture):
    model = network(nn.Dropout(0.4))
    fast = capture(model)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @capture
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(fast(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return Case(step, lambda n: model.train(n % 2 == 0), [model, optimizer], labelled)


@scenario()
def compiled_model_in_training_and_in_predictions(capture):
    model = network(nn.Dropout(0.4))
    fast = capture(model)
    step = capture(classifies(model, optim.SGD(model.parameters(), lr=0.1)))

    def call(x, y):
        model.train()
        loss = step(x, y)
        model.eval()
        return loss, fast(x)

    return Case(call, lambda n: setattr(model[2], "p", 0.1 * n), model, labelled)


@scenario()
def compiled_model_in_training_mode(capture):
    model = network(nn.BatchNorm1d(4))
    fast = capture(model)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def call(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(fast(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return Case(call, lambda n: setattr(model[2], "eps", 0.1 * n), model, labelled)


@scenario()
def captured_step_called_within_no_compile(capture):
    small, state = Small(), types.SimpleNamespace(factor=1.0)
    fast = capture(lambda x: small.train(x, state.factor))

    def call(x):
        first = fast(x)
        eager = small.train(x, state.factor)
        return first, eager

    return Case(call, lambda n: setattr(state, "factor", 1.0 + n), small.watch)


@scenario()
def two_captures_of_one_function(capture):
    small, state = Small(), types.SimpleNamespace(factor=1.0)

    def step(x):
        return small.train(x, state.factor)

    first, second = capture(step), capture(step)
    return Case(lambda x: (first(x), second(x)), lambda n: setattr(state, "factor", 1.0 + n), small.watch)


@scenario()
def captured_partial(capture):
    small = Small()

    def body(factor, x):
        return small.train(x, factor)

    made = functools.partial(body, 1.5)
    return Case(capture(made), lambda n: small.optimizer.param_groups[0].update(lr=0.1 * n), small.watch)


@scenario()
def captured_object_with_call(capture):
    class Step:
        def __init__(self):
            self.small, self.factor = Small(), 1.0

        def __call__(self, x):
            return self.small.train(x, self.factor)

    made = Step()
    return Case(capture(made), lambda n: setattr(made, "factor", 1.0 + n), made.small.watch)


@scenario()
def captured_bound_method(capture):
    class Learner:
        def __init__(self):
            self.small, self.factor = Small(), 1.0

        def step(self, x):
            return self.small.train(x, self.factor)

    learner = Learner()
    return Case(capture(learner.step), lambda n: setattr(learner, "factor", 1.0 + n), learner.small.watch)


@scenario()
def recursive_step(capture):
    small, state = Small(), types.SimpleNamespace(depth=1)

    @capture
    def step(x, depth=None):
        depth = state.depth if depth is None else depth
        if depth == 0:
            return small.train(x, 1.5)
        return step(x * 0.5, depth - 1)

    return Case(step, lambda n: setattr(state, "depth", 1 + n), small.watch)


@scenario()
def called_from_several_threads_in_turn(capture):
    small, state = Small(), types.SimpleNamespace(factor=1.0)
    fast = capture(lambda x: small.train(x, state.factor))

    def call(x):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(fast, x).result()

    return Case(call, lambda n: setattr(state, "factor", 1.0 + n), small.watch)


@scenario()
def changed_by_another_thread(capture):
    small, state = Small(), types.SimpleNamespace(factor=1.0)
    fast = capture(lambda x: small.train(x, state.factor))

    def change(n):
        thread = threading.Thread(target=lambda: setattr(state, "factor", 1.0 + n))
        thread.start()
        thread.join()

    return Case(fast, change, small.watch)


@scenario()
def many_programs_and_back():
    """Ten values in turn: more than are kept."""
    small, state = Small(), types.SimpleNamespace(factor=1.0)

    def step(x):
        return small.train(x, state.factor)

    def each(n, result):
        state.factor = 1.0 + n % 5

    return Case(step, None, small.watch, each=each)


@scenario()
def two_values_in_turn():
    small, state = Small(), types.SimpleNamespace(factor=1.0)

    def step(x):
        return small.train(x, state.factor)

    def each(n, result):
        state.factor = 1.0 + n % 2

    return Case(step, None, small.watch, each=each)


@scenario()
def several_shapes_and_a_change():
    small, state = Small(), types.SimpleNamespace(factor=1.0)

    def step(x):
        return small.train(x, state.factor)

    def inputs(n):
        return (default_inputs(n)[0][: 1 + n % 2],)

    return Case(step, lambda n: setattr(state, "factor", 1.0 + n), small.watch, inputs)


@scenario()
def training_and_evaluation_in_turn():
    model = network(nn.Dropout(0.5), nn.BatchNorm1d(4))
    state = types.SimpleNamespace(factor=1.0)

    def step(x):
        return model(x).sum() * state.factor

    def each(n, result):
        model.train(n % 2 == 0)

    return Case(step, lambda n: setattr(state, "factor", 1.0 + n), model, each=each)


@scenario()
def gradients_of_two_steps(capture):
    """Two captured steps add to the gradients of one parameter."""
    w, state = nn.Parameter(rv.ones(3)), types.SimpleNamespace(factor=1.0)

    @capture
    def first(x):
        w.grad = None
        loss = (x * w * state.factor).sum()
        loss.backward()
        return loss

    @capture
    def second(x):
        loss = (x * w * w).sum()
        loss.backward()
        return loss

    return Case(lambda x: (first(x), second(x)), lambda n: setattr(state, "factor", 1.0 + n), w)


@scenario()
def eager_and_captured_steps_in_turn(capture):
    small, state = Small(), types.SimpleNamespace(factor=1.0)

    def step(x):
        return small.train(x, state.factor)

    fast, calls = capture(step), []

    def call(x):
        calls.append(1)
        return (step if len(calls) % 3 == 0 else fast)(x)

    return Case(call, lambda n: setattr(state, "factor", 1.0 + n), small.watch)


@scenario()
def saved_and_loaded_between_calls():
    import copy

    model = network()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    saved = []

    def each(n, result):
        if n == 3:
            saved.append(copy.deepcopy((dict(model.state_dict()), optimizer.state_dict())))
        if n in (7, 9):
            model.load_state_dict(saved[0][0])
            optimizer.load_state_dict(saved[0][1])

    return Case(classifies(model, optimizer), None, [model, optimizer], labelled, each)


@scenario()
def numpy_arguments():
    small = Small()

    def step(x):
        return small.train(rv.as_tensor(x), 1.5)

    return Case(
        step,
        None,
        small.watch,
        lambda n: (np.random.default_rng(n).standard_normal((4, 3)).astype(np.float32),),
    )
