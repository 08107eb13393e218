"""Compiled steps called by several threads, after an error, and with new values at every call."""

import threading
import types

import ranvier as rv
from program.staleness.judge import Case, add, default_inputs, scenario
from program.staleness.small import Small, network, reading, trains
from ranvier import nn


@scenario("either", neutral=True)
def fixed_after_a_refusal():
    """The step reads a value until a flag is set."""
    small, state = Small(), types.SimpleNamespace(reads=True)

    def step(x):
        loss, y = small.train(x, 1.5)
        if state.reads:
            loss.item()
        return y

    return Case(step, lambda n: setattr(state, "reads", n == 2), small.watch)


@scenario("either")
def refused_from_a_change_on():
    small, state = Small(), types.SimpleNamespace(reads=False)

    def step(x):
        loss, y = small.train(x, 1.5)
        return y * (loss.item() if state.reads else 1.0)

    return Case(step, lambda n: setattr(state, "reads", n % 2 == 1), small.watch)


@scenario()
def error_of_the_users_in_between():
    state = types.SimpleNamespace(shape=(4, 3), factor=1.0)

    def change(n):
        state.shape = (5, 5) if n == 1 else (4, 3)
        state.factor = 1.0 + n

    return trains(lambda x: (x.reshape(state.shape), state.factor), change, raises=True)


@scenario()
def error_of_the_arguments_in_between():
    def inputs(n):
        return (rv.ones(4, 5) if n in (3, 6) else default_inputs(n)[0],)

    return reading(lambda: 1.5, inputs=inputs, raises=True)


@scenario()
def wrong_number_of_arguments_in_between():
    def inputs(n):
        return default_inputs(n) * (2 if n in (3, 6) else 1)

    return reading(lambda: 1.5, inputs=inputs, raises=True)


@scenario()
def unknown_keyword_in_between():
    small = Small()

    def step(x, scale=1.5):
        return small.train(x, scale)

    def inputs(n):
        return default_inputs(n), {"scal" if n in (3, 6) else "scale": 2.0}

    return Case(step, None, small.watch, inputs, raises=True)


@scenario()
def positional_only_and_keyword_only():
    small = Small()

    def step(x, /, scale, *, shift=0.0, **more):
        return small.train(x * scale + shift + more.get("extra", 0.0), 1.5)

    def inputs(n):
        return default_inputs(n), {"shift": float(n % 2), "scale": 2.0, **({"extra": 1.0} if n % 3 else {})}

    return Case(step, None, small.watch, inputs)


def threads_at_once(make):
    """Four threads call a compiled step with different inputs; its results depend on nothing else."""

    def build(compile_step):
        model, state = network(seed=3).eval(), types.SimpleNamespace(factor=1.0)
        fast = make(compile_step, model, state)

        def call(x):
            found, errors = [None] * 4, []

            def work(i):
                try:
                    found[i] = fast(x * float(i + 1))
                except Exception as error:
                    errors.append(error)

            threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for error in errors:
                raise error
            return found

        return Case(call, lambda n: setattr(state, "factor", 1.0 + n), model)

    return build


def step_of_a_model(compile_step, model, state):
    return compile_step(lambda x: model(x).detach() * state.factor)


def without_a_tape(compile_step, model, state):
    @compile_step
    def step(x):
        with rv.no_grad():
            return model(x) * state.factor

    return step


add("in/threads_of_a_step", threads_at_once(step_of_a_model))
add("in/threads_without_a_tape", threads_at_once(without_a_tape))


@scenario()
def new_modules_in_each_call():
    """A new model for each call."""

    def inputs(n):
        rv.manual_seed(n)
        return default_inputs(n)[0], nn.Linear(3, 2)

    return Case(lambda x, model: model(x).sum(), None, (), inputs, holds=False)


@scenario()
def new_weights_in_each_call():
    state = types.SimpleNamespace(w=rv.ones(3))

    def each(n, result):
        state.w = rv.full((3,), float(n))

    return trains(lambda x: (x * state.w, 1.5), each=each)


@scenario()
def new_functions_in_each_call():
    state = types.SimpleNamespace(call=lambda x: x)

    def each(n, result):
        state.call = lambda x: x * float(n)

    return trains(lambda x: (state.call(x), 1.5), each=each)


@scenario()
def new_objects_of_equal_content():
    state = types.SimpleNamespace(config={"a": [1.0, 2.0]})

    def each(n, result):
        state.config = {"a": [1.0, 2.0]}

    return reading(lambda: state.config["a"][1], each=each)


@scenario()
def new_closures_over_the_same_step(compile_step):
    """A step recorded again for each call, as in a loop over configurations."""
    small = Small()

    def call(x):
        factor = float(len(calls))
        calls.append(1)
        step = compile_step(lambda x: small.train(x, 1.0 + factor * 0.1))
        return [step(x) for _ in range(3)]

    calls = []
    return Case(call, None, small.watch)


@scenario()
def one_of_a_hundred_values():
    """A hundred guards, of which one changes."""
    small, state = Small(), types.SimpleNamespace(**{f"v{k}": 1.0 for k in range(100)})

    def step(x):
        total = 0.0
        for k in range(100):
            total += getattr(state, f"v{k}")
        return small.train(x, total / 100)

    return Case(step, lambda n: setattr(state, f"v{30 * n}", 5.0), small.watch)


@scenario()
def one_of_a_thousand_items():
    table = dict.fromkeys(range(1000), 1.0)
    return reading(
        lambda: sum(table[k] for k in range(0, 1000, 7)) / 100, lambda n: table.__setitem__(7 * n, 50.0)
    )


@scenario(neutral=True)
def item_that_is_not_read():
    table = dict.fromkeys(range(10), 1.0)
    return reading(lambda: table[3], lambda n: table.__setitem__(4, 50.0))


@scenario(neutral=True)
def attribute_that_is_not_read():
    state = types.SimpleNamespace(a=1.0, b=1.0)
    return reading(lambda: state.a, lambda n: setattr(state, "b", 1.0 + n))


@scenario(neutral=True)
def attribute_of_the_branch_not_taken():
    state = types.SimpleNamespace(flag=True, b=1.0)
    return reading(lambda: 1.0 if state.flag else state.b, lambda n: setattr(state, "b", 1.0 + n))


@scenario()
def attribute_of_the_branch_taken_later():
    state = types.SimpleNamespace(flag=True, b=1.0)

    def change(n):
        state.flag = False
        state.b = 1.0 + n

    return reading(lambda: 1.0 if state.flag else state.b, change)


@scenario()
def short_circuit():
    state = types.SimpleNamespace(a=False, b=2.0)

    def change(n):
        state.a = n != 2
        state.b = 2.0 + n

    return reading(lambda: (state.a and state.b) or 1.0, change)
