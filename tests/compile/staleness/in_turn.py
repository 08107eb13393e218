"""What differs at every call, or in some calls: values, shapes, errors, modes, weights, functions."""

import copy
import types

import ranvier as rv
from compile.staleness.judge import Case, add, labelled, scenario
from compile.staleness.small import Scaled, Small, classifies, network, trains
from ranvier import nn, optim

# what the caller puts into `s.value` after each call: (the first value, the next at call n, what a step uses)
EACH = {
    "many_programs_and_back": (1.0, lambda n: 1.0 + n % 5, lambda x, v: x * v),
    "two_values_in_turn": (1.0, lambda n: 1.0 + n % 2, lambda x, v: x * v),
    "new_weights_in_each_call": (rv.ones(3), lambda n: rv.full((3,), float(n)), lambda x, v: x * v),
    "new_functions_in_each_call": (abs, lambda n: lambda x: x * float(n), lambda x, v: v(x)),
    "new_objects_of_equal_content": (
        {"a": [1.0, 2.0]},
        lambda n: {"a": [1.0, 2.0]},
        lambda x, v: x * v["a"][1],
    ),
}


def each_call(first, following, use):
    def build():
        state = types.SimpleNamespace(value=first)

        def each(n, result):
            state.value = following(n)

        return trains(lambda x: (use(x, state.value), 1.5), each=each)

    return build


for name, texts in EACH.items():
    add(f"in/{name}", each_call(*texts))


@scenario()
def training_and_evaluation_in_turn():
    model, small = network(nn.Dropout(0.5), nn.BatchNorm1d(4)), Scaled()
    each = lambda n, result: model.train(n % 2 == 0)  # noqa: E731
    return Case(lambda x: (model(x) * small.factor).sum(), small.change, model, each=each)


@scenario()
def training_and_evaluation_of_a_step():
    model = network(nn.Dropout(0.5), nn.BatchNorm1d(4))
    step = classifies(model, optim.SGD(model.parameters(), lr=0.1))
    return Case(step, None, model, labelled, lambda n, result: model.train(n % 2 == 0))


@scenario()
def saved_and_loaded_between_calls():
    model = network()
    optimizer, saved = optim.Adam(model.parameters(), lr=0.05), []

    def each(n, result):
        if n == 3:
            saved.append(copy.deepcopy((dict(model.state_dict()), optimizer.state_dict())))
        if n in (7, 9):
            model.load_state_dict(saved[0][0])
            optimizer.load_state_dict(saved[0][1])

    return Case(classifies(model, optimizer), None, [model, optimizer], labelled, each)


@scenario(neutral=True)
def fixed_after_a_refusal():
    """The step reads a value until a flag is set."""
    small, state = Small(), types.SimpleNamespace(reads=True)

    def step(x):
        loss, y = small.train(x, 1.5)
        if state.reads:
            loss.item()
        return y

    return Case(step, lambda n: setattr(state, "reads", n == 2), small.watch)


@scenario()
def super_forward(patch):
    class Doubled(nn.Tanh):
        def forward(self, x):
            return super().forward(x) * 2

    model = network(Doubled())
    step = classifies(model, optim.SGD(model.parameters(), lr=0.1))
    return Case(step, lambda n: patch(nn.Tanh, "forward", lambda self, x: x * n), model, inputs=labelled)


@scenario()
def argument_that_is_an_earlier_result():
    small, held = Small(), [rv.ones(4, 3)]

    def each(n, result):
        held[0] = result.detach()

    return Case(lambda x: small.train(x, 1.5)[1] * 0.5, None, small.watch, lambda n: (held[0],), each)
