"""Compiled steps within compiled steps, and several ones of the same state."""

import concurrent.futures
import functools
import threading
import types

import numpy as np
import ranvier as rv
from program.staleness.judge import Case, default_inputs, labelled, scenario
from program.staleness.small import Scaled, Small, classifies, network, reading, trains
from ranvier import nn, optim


@scenario()
def compiled_within_compiled(compile_step):
    small = Scaled()

    inner = compile_step(lambda x: x * small.factor)
    step = compile_step(lambda x: small.train(inner(x), 1.5))
    return small.case(step)


@scenario()
def compiled_alone_and_within(compile_step):
    small = Scaled()

    inner = compile_step(lambda x: x * small.factor)
    step = compile_step(lambda x: small.train(inner(x), 1.5))
    return small.case(lambda x: (inner(x), step(x), inner(x)))


@scenario()
def compiled_model_within_a_step(compile_step):
    model = network(nn.Dropout(0.4))
    fast = compile_step(model)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    step = compile_step(classifies(fast, optimizer))
    return Case(step, lambda n: model.train(n % 2 == 0), [model, optimizer], labelled)


@scenario()
def compiled_model_in_training_and_in_predictions(compile_step):
    model = network(nn.Dropout(0.4))
    fast = compile_step(model)
    step = compile_step(classifies(model, optim.SGD(model.parameters(), lr=0.1)))

    def call(x, y):
        model.train()
        loss = step(x, y)
        model.eval()
        return loss, fast(x)

    return Case(call, lambda n: setattr(model[2], "p", 0.1 * n), model, labelled)


@scenario("eager")
def compiled_model_in_training_mode(compile_step):
    model = network(nn.BatchNorm1d(4))
    fast = compile_step(model)
    step = classifies(fast, optim.SGD(model.parameters(), lr=0.1))
    return Case(step, lambda n: setattr(model[2], "eps", 0.1 * n), model, labelled)


@scenario()
def compiled_step_called_within_no_compile(compile_step):
    small = Scaled()
    fast = compile_step(lambda x: small.train(x, small.factor))
    return small.case(lambda x: (fast(x), small.train(x, small.factor)))


@scenario()
def two_programs_of_one_function(compile_step):
    small = Scaled()

    def step(x):
        return small.train(x, small.factor)

    first, second = compile_step(step), compile_step(step)
    return small.case(lambda x: (first(x), second(x)))


@scenario()
def compiled_partial(compile_step):
    small = Small()

    def body(factor, x):
        return small.train(x, factor)

    made = functools.partial(body, 1.5)
    return Case(compile_step(made), lambda n: small.optimizer.param_groups[0].update(lr=0.1 * n), small.watch)


@scenario()
def compiled_object_with_call(compile_step):
    class Step(Scaled):
        def __call__(self, x):
            return self.train(x, self.factor)

    made = Step()
    return made.case(compile_step(made))


@scenario()
def compiled_bound_method(compile_step):
    class Learner(Scaled):
        def step(self, x):
            return self.train(x, self.factor)

    learner = Learner()
    return learner.case(compile_step(learner.step))


@scenario()
def recursive_step(compile_step):
    small, state = Small(), types.SimpleNamespace(depth=1)

    @compile_step
    def step(x, depth=None):
        depth = state.depth if depth is None else depth
        if depth == 0:
            return small.train(x, 1.5)
        return step(x * 0.5, depth - 1)

    return Case(step, lambda n: setattr(state, "depth", 1 + n), small.watch)


@scenario()
def called_from_several_threads_in_turn(compile_step):
    small = Scaled()
    fast = compile_step(lambda x: small.train(x, small.factor))

    def call(x):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(fast, x).result()

    return small.case(call)


@scenario()
def changed_by_another_thread(compile_step):
    small = Scaled()
    fast = compile_step(lambda x: small.train(x, small.factor))

    def change(n):
        thread = threading.Thread(target=lambda: small.change(n))
        thread.start()
        thread.join()

    return Case(fast, change, small.watch)


@scenario()
def many_programs_and_back():
    """Five values in turn."""
    state = types.SimpleNamespace(factor=1.0)

    def each(n, result):
        state.factor = 1.0 + n % 5

    return reading(lambda: state.factor, each=each)


@scenario()
def two_values_in_turn():
    state = types.SimpleNamespace(factor=1.0)

    def each(n, result):
        state.factor = 1.0 + n % 2

    return reading(lambda: state.factor, each=each)


@scenario()
def several_shapes_and_a_change():
    state = types.SimpleNamespace(factor=1.0)

    def inputs(n):
        return (default_inputs(n)[0][: 1 + n % 2],)

    return reading(lambda: state.factor, lambda n: setattr(state, "factor", 1.0 + n), inputs=inputs)


@scenario()
def training_and_evaluation_in_turn():
    model = network(nn.Dropout(0.5), nn.BatchNorm1d(4))
    state = types.SimpleNamespace(factor=1.0)

    def each(n, result):
        model.train(n % 2 == 0)

    return Case(
        lambda x: model(x).sum() * state.factor, lambda n: setattr(state, "factor", 1.0 + n), model, each=each
    )


@scenario()
def gradients_of_two_steps(compile_step):
    """Two compiled steps add to the gradients of one parameter."""
    w, state = nn.Parameter(rv.ones(3)), types.SimpleNamespace(factor=1.0)

    @compile_step
    def first(x):
        w.grad = None
        loss = (x * w * state.factor).sum()
        loss.backward()
        return loss

    @compile_step
    def second(x):
        loss = (x * w * w).sum()
        loss.backward()
        return loss

    return Case(lambda x: (first(x), second(x)), lambda n: setattr(state, "factor", 1.0 + n), w)


@scenario()
def eager_and_compiled_steps_in_turn(compile_step):
    small = Scaled()

    def step(x):
        return small.train(x, small.factor)

    fast, calls = compile_step(step), []

    def call(x):
        calls.append(1)
        return (step if len(calls) % 3 == 0 else fast)(x)

    return small.case(call)


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
    return trains(
        lambda x: (rv.as_tensor(x), 1.5),
        inputs=lambda n: (np.random.default_rng(n).standard_normal((4, 3)).astype(np.float32),),
    )
