"""Arguments and results: keywords, defaults, aliases, containers, shapes, layouts, what the caller holds."""

from __future__ import annotations

import collections
import dataclasses
import types

import numpy as np
import ranvier as rv
from program.staleness.judge import Case, add, scenario
from program.staleness.small import Small
from ranvier import nn, optim


def drawn(number, shape=(4, 3), dtype=np.float32):
    return np.random.default_rng(number).standard_normal(shape).astype(dtype)


def tensor(number, shape=(4, 3), dtype=np.float32):
    return rv.tensor(drawn(number, shape, dtype))


# --- keywords: the order in which they are given, and which are given


def three(small):
    def step(x, mask=None, scale=2.0, *, bias=None, flag=False):
        y = x * 2 if mask is None else x - mask * 0.5
        y = y if bias is None else y + bias
        return small.train(y - 1 if flag else y, scale)

    return step


A, B, C = tensor, lambda n: tensor(n + 100), lambda n: tensor(n + 200)
KEYWORDS = {
    "alphabetical": lambda n: ((), {"mask": B(n), "x": A(n)}),
    "not_alphabetical": lambda n: ((), {"x": A(n), "mask": B(n)}),
    "three_in_an_order": lambda n: ((), {"x": A(n), "mask": B(n), "bias": C(n)}),
    "three_in_another_order": lambda n: ((), {"mask": B(n), "x": A(n), "bias": C(n)}),
    "three_reversed": lambda n: ((), {"bias": C(n), "x": A(n), "mask": B(n)}),
    "order_changes": lambda n: ((), {"x": A(n), "mask": B(n)} if n % 2 else {"mask": B(n), "x": A(n)}),
    "after_a_position": lambda n: ((A(n),), {"mask": B(n), "bias": C(n)}),
    "after_a_position_reversed": lambda n: ((A(n),), {"bias": C(n), "mask": B(n)}),
    "now_position_now_keyword": lambda n: ((A(n), B(n)), {}) if n % 2 else ((A(n),), {"mask": B(n)}),
    "left_out_now_and_then": lambda n: ((A(n),), {"mask": B(n)}) if n % 2 else ((A(n),), {}),
    "default_given": lambda n: ((A(n),), {"scale": 2.0}) if n % 2 else ((A(n),), {}),
    "number_changes": lambda n: ((A(n),), {"scale": float(n % 3)}),
    "number_and_tensor": lambda n: ((), {"scale": float(n % 3), "mask": B(n), "x": A(n)}),
    "flag_changes": lambda n: ((A(n),), {"flag": n % 2 == 0}),
    "none_now_and_then": lambda n: ((A(n), None), {}) if n % 2 else ((A(n), B(n)), {}),
    "by_a_dict": lambda n: ((), dict(zip(("x", "mask"), (A(n), B(n)), strict=True))),
}
for name, inputs in KEYWORDS.items():

    def with_keywords(inputs=inputs):
        small = Small()
        return Case(three(small), None, small.watch, inputs)

    add(f"calls/keywords_{name}", with_keywords)


# --- plain values among the arguments

VALUES = {
    "int": (1, 2, 3, 2),
    "float": (1.0, 2.0, 1.5, 1.0),
    "bool": (True, False, True, False),
    "one_three_ways": (1, True, 1.0, 1),
    "zeros": (0.0, -0.0, 0.0, -0.0),
    "text": ("relu", "tanh", "sigmoid", "relu"),
    "none": (None, 1.0, None, 2.0),
    "tuple": ((1.0, 2.0), (1.0, 3.0), (2.0,), (1.0, 2.0)),
    "list": ([1.0, 2.0], [1.0, 3.0], [2.0], [1.0, 2.0]),
    "dict": ({"a": 1.0}, {"a": 2.0}, {"b": 1.0}, {"a": 1.0}),
    "set": ({1, 2}, {1, 3}, {4}, {1, 2}),
    "frozenset": (frozenset({1}), frozenset({2}), frozenset(), frozenset({1})),
    "numpy_float": tuple(map(np.float32, (1, 2, 3, 1))),
    "numpy_int": tuple(map(np.int64, (1, 2, 3, 1))),
    "numpy_bool": (np.True_, np.False_, np.True_, np.False_),
    "nan": (1.0, float("nan"), 2.0, float("nan")),
    "big": (10**20, 10**20 + 10**6, 10**20, 3),
    "complex": (1j, 2j, 1 + 1j, 1j),
    "slice": (slice(0, 2), slice(0, 3), slice(1, 2), slice(0, 2)),
    "range": (range(2), range(3), range(1), range(2)),
    "bytes": (b"a", b"b", b"ab", b"a"),
    "function": (abs, float, lambda v: v * 3, abs),
    "dtype": (rv.float32, rv.float64, rv.float32, rv.float64),
    "type": (int, float, str, int),
    "enum": tuple(collections.namedtuple("N", "a")(k) for k in (1, 2, 3, 1)),
    "ellipsis": (..., None, ..., 1.0),
}


def factor_of(value):
    """A number for any of the values."""
    if value is None or value is ...:
        return 1.5 if value is None else 2.5
    if isinstance(value, str):
        return {"relu": 1.0, "tanh": 2.0, "sigmoid": 3.0}[value]
    if isinstance(value, (bool, np.bool_)):
        return 2.0 if value else 0.5
    if isinstance(value, type):
        return {int: 1.0, float: 2.0, str: 3.0}.get(value, 4.0)
    if isinstance(value, np.dtype):
        return float(value.itemsize)
    if isinstance(value, complex):
        return value.real + 2 * value.imag
    if isinstance(value, slice):
        return float(len([1, 2, 3][value]))
    if isinstance(value, dict):
        return sum(value.values()) + len("".join(value)) + ("b" in value)
    if isinstance(value, (tuple, list, set, frozenset, range, bytes)):
        return float(sum(value)) + len(value)
    if callable(value):
        return value(1.5)
    if isinstance(value, int) and value > 10:
        return float(value % 10**9) / 1e6 + 1.0
    return value * (1.0 if type(value) is not int else 3.0)


for name, values in VALUES.items():

    def with_value(values=values):
        small = Small()

        def step(x, value):
            return small.train(x, factor_of(value))

        return Case(step, None, small.watch, lambda n: (tensor(n), values[n % 4]))

    # a step that makes numbers of objects by value: a refusal is fine for what is not a plain value
    plain = name in (
        "int",
        "float",
        "bool",
        "one_three_ways",
        "zeros",
        "text",
        "none",
        "tuple",
        "list",
        "dict",
        "nan",
    )
    add(f"calls/value_{name}", with_value, "works" if plain else "either")


# --- objects passed, and changed in place by the caller


@dataclasses.dataclass
class Config:
    factor: float = 1.0


class WithSlots:
    __slots__ = ("factor",)

    def __init__(self):
        self.factor = 1.0


OBJECTS = {
    "namespace": (
        types.SimpleNamespace(factor=1.0),
        lambda o: o.factor,
        lambda o, v: setattr(o, "factor", v),
    ),
    "dataclass": (Config(), lambda o: o.factor, lambda o, v: setattr(o, "factor", v)),
    "slots": (WithSlots(), lambda o: o.factor, lambda o, v: setattr(o, "factor", v)),
    "nested": (
        types.SimpleNamespace(inner=Config()),
        lambda o: o.inner.factor,
        lambda o, v: setattr(o.inner, "factor", v),
    ),
    "list": ([1.0], lambda o: o[0], lambda o, v: o.__setitem__(0, v)),
    "list_longer": ([1.0], lambda o: float(len(o)), lambda o, v: o.append(v)),
    "dict": ({"f": 1.0}, lambda o: o["f"], lambda o, v: o.__setitem__("f", v)),
    "dict_key": ({"f": 1.0}, lambda o: float(len(o)), lambda o, v: o.__setitem__(str(v), v)),
    "set": ({1}, lambda o: float(len(o)), lambda o, v: o.add(v)),
    "nested_list": ([[1.0]], lambda o: o[0][0], lambda o, v: o[0].__setitem__(0, v)),
    "ordered_dict": (collections.OrderedDict(f=1.0), lambda o: o["f"], lambda o, v: o.__setitem__("f", v)),
    "deque": (collections.deque([1.0]), lambda o: o[0], lambda o, v: o.__setitem__(0, v)),
    "generator_owner": (
        types.SimpleNamespace(values=[1.0]),
        lambda o: max(o.values),
        lambda o, v: o.values.append(v),
    ),
}
for name, (made, read, write) in OBJECTS.items():
    for how in ("argument", "keyword"):

        def with_object(made=made, read=read, write=write, how=how):
            import copy

            small, held = Small(), copy.deepcopy(made)

            def step(x, config):
                return small.train(x, read(config))

            def inputs(n):
                return ((tensor(n), held), {}) if how == "argument" else ((tensor(n),), {"config": held})

            return Case(step, lambda n: write(held, 1.0 + n), small.watch, inputs)

        add(f"calls/object_{name}-{how}", with_object, "either" if name == "deque" else "works")


@scenario()
def another_object_of_the_same_kind():
    small = Small()

    def step(x, config):
        return small.train(x, config.factor)

    return Case(step, None, small.watch, lambda n: (tensor(n), Config(1.0 + n % 3)))


@scenario()
def object_freed_and_another_in_its_place():
    small = Small()

    def step(x, config):
        return small.train(x, config.factor)

    def inputs(n):
        return tensor(n), types.SimpleNamespace(factor=1.0 + n)

    return Case(step, None, small.watch, inputs, holds=False)


@scenario()
def object_holding_a_tensor():
    small, batch = Small(), types.SimpleNamespace(x=tensor(0))

    def step(config):
        return small.train(config.x, 1.5)

    def inputs(n):
        batch.x = tensor(n)
        return (batch,)

    return Case(step, None, small.watch, inputs)


@scenario()
def model_passed():
    models = [nn.Linear(3, 3), nn.Linear(3, 3)]

    def step(x, model):
        return model(x).sum()

    return Case(step, lambda n: models.reverse(), models, lambda n: (tensor(n), models[0]))


@scenario()
def model_and_optimizer_passed():
    model = nn.Linear(3, 3)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(model, optimizer, x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    def change(n):
        optimizer.param_groups[0]["lr"] = 0.1 * n

    return Case(step, change, [model, optimizer], lambda n: (model, optimizer, tensor(n)))


# --- containers of tensors

Batch = collections.namedtuple("Batch", "x y")
STRUCTURES = {
    "list": (lambda a, b: [a, b], lambda s: (s[0], s[1])),
    "tuple": (lambda a, b: (a, b), lambda s: (s[0], s[1])),
    "dict": (lambda a, b: {"a": a, "b": b}, lambda s: (s["a"], s["b"])),
    "dict_of_lists": (lambda a, b: {"a": [a, 1.0], "b": [b]}, lambda s: (s["a"][0], s["b"][0])),
    "namedtuple": (Batch, lambda s: (s.x, s.y)),
    "dataclass": (lambda a, b: Config([a, b]), lambda s: tuple(s.factor)),
    "namespace": (lambda a, b: types.SimpleNamespace(a=a, b=b), lambda s: (s.a, s.b)),
    "ordered_dict": (lambda a, b: collections.OrderedDict(a=a, b=b), lambda s: (s["a"], s["b"])),
    "nested": (lambda a, b: [{"x": (a, [b])}], lambda s: (s[0]["x"][0], s[0]["x"][1][0])),
}
for name, (wrapped, opened) in STRUCTURES.items():
    for how in ("same", "order_of_keys", "longer"):
        if (
            (how == "order_of_keys"
            and name not in ("dict", "ordered_dict"))
            or (how == "longer"
            and name != "list")
        ):
            continue

        def with_structure(wrapped=wrapped, opened=opened, how=how):
            small = Small()

            def step(given):
                a, b = opened(given)
                more = len(given) if isinstance(given, list) else 1
                return small.train(a - b * b, 0.5 + more)

            def inputs(n):
                given = wrapped(A(n), B(n))
                if how == "order_of_keys" and n % 2:
                    given = type(given)(reversed(given.items()))
                if how == "longer":
                    given = [*given, *[C(n)] * (n % 3)]
                return (given,)

            return Case(step, None, small.watch, inputs)

        plain = name in ("list", "tuple", "dict", "dict_of_lists", "nested")
        add(f"calls/structure_{name}-{how}", with_structure, "works" if plain else "either")


# --- arrays: shapes, dtypes, layouts, aliases


def arrays(inputs, use=None, expects="works"):
    def build():
        small = Small()

        def step(x, *more):
            for other in more:
                x = x - other.float() * other.float() * 0.5
            return small.train(x.float(), 1.5)

        return Case(use(small) if use else step, None, small.watch, inputs)

    return build


def alternating(*choices):
    return lambda n: choices[n % len(choices)](n)


KEPT = drawn(0)
ARRAYS = {
    "numpy": lambda n: (rv.tensor(drawn(n)),),
    "shapes": alternating(
        lambda n: (tensor(n),), lambda n: (tensor(n, (2, 3)),), lambda n: (tensor(n, (1, 3)),)
    ),
    "ranks": alternating(
        lambda n: (tensor(n),), lambda n: (tensor(n, (3,)),), lambda n: (tensor(n, (2, 2, 3)),)
    ),
    "no_rows": alternating(lambda n: (tensor(n),), lambda n: (tensor(n),), lambda n: (tensor(n, (0, 3)),)),
    "dtypes": alternating(
        lambda n: (tensor(n),),
        lambda n: (tensor(n, dtype=np.float64),),
        lambda n: (tensor(n, dtype=np.float16),),
    ),
    "ints": alternating(
        lambda n: (rv.tensor(np.arange(12).reshape(4, 3) + n),),
        lambda n: (rv.tensor(np.arange(12, dtype=np.int32).reshape(4, 3) - n),),
    ),
    "transposed": alternating(lambda n: (tensor(n),), lambda n: (tensor(n, (3, 4)).T,)),
    "strided": alternating(lambda n: (tensor(n),), lambda n: (tensor(n, (8, 6))[::2, ::2],)),
    "reversed": alternating(lambda n: (tensor(n),), lambda n: (rv.from_numpy(drawn(n)[::-1].copy()),)),
    "expanded": alternating(lambda n: (tensor(n),), lambda n: (tensor(n, (1, 3)).expand(4, 3),)),
    "same_twice": lambda n: (lambda t: (t, t))(tensor(n)),
    "same_now_and_then": lambda n: (lambda t: (t, t if n % 2 else B(n)))(tensor(n)),
    "view_of_the_other": lambda n: (lambda t: (t[:4], t[4:] if n % 2 else t[1:5]))(tensor(n, (8, 3))),
    "one_object_always": lambda n: (rv.from_numpy(KEPT),),
    "broadcast": lambda n: (A(n), tensor(n, (3,) if n % 2 else (1, 3))),
    "bools": lambda n: (A(n), rv.tensor(drawn(n) > 0)),
    "number_tensor": lambda n: (A(n), rv.tensor(float(n))),
}
for name, inputs in ARRAYS.items():
    add(f"calls/arrays_{name}", arrays(inputs))


@scenario("either")
def byte_order():
    small = Small()

    def step(x):
        return small.train(rv.as_tensor(x), 1.5)

    return Case(
        step, None, small.watch, lambda n: (rv.from_numpy(drawn(n).astype("<f4" if n % 2 else "=f4")),)
    )


@scenario()
def length_decides():
    small = Small()

    def step(x):
        return small.train(x, float(len(x) + x.shape[0] * x.ndim))

    return Case(step, None, small.watch, lambda n: (tensor(n, (1 + n % 3, 3)),))


@scenario()
def shape_and_dtype_decide():
    small = Small()

    def step(x):
        return small.train(x.float(), 2.0 if x.dtype == rv.float64 else float(x.numel()))

    return Case(
        step, None, small.watch, lambda n: (tensor(n, (1 + n % 2, 3), (np.float32, np.float64)[n % 3 == 0]),)
    )


@scenario()
def layout_decides():
    small = Small()

    def step(x):
        return small.train(x, 2.0 if x.is_contiguous() else 3.0)

    return Case(step, None, small.watch, lambda n: (tensor(n) if n % 2 else tensor(n, (3, 4)).T,))


@scenario("either")
def strides_decide():
    small = Small()

    def step(x):
        return small.train(x, float(x.stride(0)))

    return Case(step, None, small.watch, lambda n: (tensor(n) if n % 2 else tensor(n, (8, 3))[::2],))


@scenario("either")
def identity_of_arguments_decides():
    small = Small()

    def step(x, y):
        return small.train(x, 2.0 if x is y else 3.0)

    return Case(step, None, small.watch, lambda n: (lambda t: (t, t if n % 3 else t.clone()))(tensor(n)))


@scenario("either")
def address_of_arguments_decides():
    small = Small()

    def step(x, y):
        return small.train(x, 2.0 if x.data_ptr() == y.data_ptr() else 3.0)

    return Case(step, None, small.watch, lambda n: (lambda t: (t, t if n % 3 else t.clone()))(tensor(n)))


@scenario("either")
def argument_that_is_a_parameter():
    w = nn.Parameter(rv.ones(4, 3))
    other = nn.Parameter(rv.ones(4, 3) * 2)

    def step(x):
        w.grad = None
        loss = (x * w).sum()
        loss.backward()
        return loss

    return Case(step, None, [w, other], lambda n: ((w, other)[n % 2],))


@scenario("either")
def argument_that_aliases_a_parameter():
    w = nn.Parameter(rv.ones(4, 3))
    optimizer = optim.SGD([w], lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = (x * w).sum()
        loss.backward()
        optimizer.step()
        return loss, x * 1.0

    return Case(step, None, w, lambda n: (w.detach() if n % 2 else tensor(n),))


@scenario("either")
def argument_that_aliases_a_buffer():
    state = rv.zeros(4, 3)

    def step(x):
        state.add_(1.0)
        return x * 2.0

    return Case(step, None, [state], lambda n: (state if n % 2 else tensor(n),))


@scenario()
def argument_that_is_an_earlier_result():
    small, held = Small(), [tensor(0)]

    def step(x):
        _, y = small.train(x, 1.5)
        return y * 0.5

    def each(n, result):
        held[0] = result.detach()

    return Case(step, None, small.watch, lambda n: (held[0],), each)


@scenario("either")
def argument_with_a_tape():
    small = Small()

    def step(x):
        return small.train(x.detach(), 1.5)

    def inputs(n):
        x = tensor(n)
        return (x.requires_grad_() if n % 2 else x,)

    return Case(step, None, small.watch, inputs)


@scenario()
def argument_changed_in_place_by_the_caller():
    small, x = Small(), tensor(0)

    def step(x):
        return small.train(x, 1.5)

    return Case(step, lambda n: x.mul_(2.0), small.watch, lambda n: (x,))


@scenario("either")
def argument_written_by_the_step():
    def step(x):
        x.mul_(2.0)
        return x.sum()

    xs = [tensor(k) for k in range(12)]
    return Case(step, None, [xs], lambda n: (xs[n],))


@scenario("either")
def argument_returned():
    return Case(lambda x: x, None)


@scenario("either")
def view_of_an_argument_returned():
    return Case(lambda x: x[:2], None)


@scenario("either")
def list_of_the_caller_written():
    found = []

    def step(x, found):
        found.append(1)
        return x * float(len(found))

    return Case(step, None, [found], lambda n: (tensor(n), found))


@scenario()
def star_arguments():
    small = Small()

    def step(*xs):
        return small.train(sum(xs), float(len(xs)))

    return Case(step, None, small.watch, lambda n: tuple(tensor(n + k) for k in range(1 + n % 3)))


@scenario()
def star_keywords():
    small = Small()

    def step(**xs):
        return small.train(xs["a"] - xs["b"] * 3, float(len(xs)))

    names = ("a", "b", "c")

    def inputs(n):
        chosen = [(name, tensor(n + 10 * k)) for k, name in enumerate(names[: 2 + n % 2])]
        return (), dict(reversed(chosen))

    return Case(step, None, small.watch, inputs)


@scenario()
def ever_new_numbers():
    small = Small()

    def step(x, number):
        return small.train(x, number * 0.1)

    return Case(step, None, small.watch, lambda n: (tensor(n), n))


@scenario()
def ever_new_shapes():
    small = Small()

    def step(x):
        return small.train(x, 1.0)

    return Case(step, None, small.watch, lambda n: (tensor(n, (n, 3)),))


# --- results


def held(form, each=None, watch=True):
    def build():
        small = Small()

        def step(x):
            loss, y = small.train(x, 1.5)
            return form(loss, y, small.w)

        return Case(step, None, small.watch, each=each)

    return build


Result = collections.namedtuple("Result", "loss y")


@dataclasses.dataclass
class Found:
    loss: object
    y: object


RESULTS = {
    "one": (lambda loss, y, w: loss, "works"),
    "tuple": (lambda loss, y, w: (loss, y), "works"),
    "list": (lambda loss, y, w: [loss, [y]], "works"),
    "dict": (lambda loss, y, w: {"loss": loss, "more": {"y": y}}, "works"),
    "namedtuple": (lambda loss, y, w: Result(loss, y), "works"),
    "dataclass": (lambda loss, y, w: Found(loss, y), "either"),
    "namespace": (lambda loss, y, w: types.SimpleNamespace(loss=loss, y=y), "either"),
    "none": (lambda loss, y, w: None, "works"),
    "number_among_them": (lambda loss, y, w: (loss, 3, "text", None), "works"),
    "same_twice": (lambda loss, y, w: (y, y), "works"),
    "view_and_base": (lambda loss, y, w: (y, y[0]), "works"),
    "transposed_view": (lambda loss, y, w: y.T, "works"),
    "expanded": (lambda loss, y, w: loss.expand(3), "works"),
    "shape": (lambda loss, y, w: (y, y.shape), "works"),
    "gradient": (lambda loss, y, w: w.grad, "works"),
    "gradient_copy": (lambda loss, y, w: w.grad.clone(), "works"),
    "gradient_view": (lambda loss, y, w: w.grad[:2], "works"),
    "parameter": (lambda loss, y, w: w, "either"),
    "parameter_detached": (lambda loss, y, w: w.detach(), "either"),
    "parameter_data": (lambda loss, y, w: w.data, "either"),
    "parameter_view": (lambda loss, y, w: w.detach()[:2], "either"),
    "detached": (lambda loss, y, w: loss.detach(), "works"),
    "ordered_dict": (lambda loss, y, w: collections.OrderedDict(y=y, loss=loss), "either"),
    "set_of_numbers": (lambda loss, y, w: (loss, {1, 2}), "either"),
    "constant": (lambda loss, y, w: (loss, rv.zeros(2)), "works"),
    "random": (lambda loss, y, w: (loss, rv.rand(2)), "works"),
    "integer_result": (lambda loss, y, w: y.argmax(1), "works"),
    "bool_result": (lambda loss, y, w: y > 0, "works"),
    "generator": (lambda loss, y, w: list(t for t in (loss, y)), "either"),  # noqa: C400
}


def change_results(n, result):
    """What a caller may do with results: change them in place."""
    for x in result if isinstance(result, (list, tuple)) else [result]:
        if isinstance(x, rv.Tensor) and x.dtype == rv.float32 and x.ndim and x.is_contiguous():
            x.detach().mul_(2.0)


for name, (form, expects) in RESULTS.items():
    add(f"calls/result_{name}", held(form), expects)
for name in (
    "one",
    "tuple",
    "list",
    "same_twice",
    "view_and_base",
    "namedtuple",
    "gradient_copy",
    "constant",
):
    add(
        f"calls/result_{name}-changed_by_the_caller", held(RESULTS[name][0], change_results), RESULTS[name][1]
    )


def gradients_held(zero, use):
    def build():
        w = nn.Parameter(rv.ones(3))
        kept = []

        def step(x):
            zero(w)
            loss = (x * w * w).sum()
            loss.backward()
            return loss

        def each(n, result):
            kept.append(use(w))
            del kept[:-6]

        return Case(step, None, lambda: [w, kept], each=each)

    return build


def to_zeros(w):
    if w.grad is not None:
        w.grad.zero_()


ZEROS = {
    "none": lambda w: setattr(w, "grad", None),
    "zeros": to_zeros,
    "kept": lambda w: None,
}
HELD = {
    "grad": lambda w: w.grad,
    "grad_and_clear": lambda w: (w.grad, setattr(w, "grad", None))[0],
    "grad_view": lambda w: w.grad[:2],
    "grad_numpy": lambda w: w.grad.numpy(),
    "grad_detached": lambda w: w.grad.detach(),
    "grad_doubled_in_place": lambda w: w.grad.mul_(2.0),
    "grad_replaced": lambda w: setattr(w, "grad", w.grad * 0.5),
    "grad_swapped_for_zeros": lambda w: setattr(w, "grad", rv.zeros(3)),
    "every_third": lambda w: w.grad,
}
for how, zero in ZEROS.items():
    for name, use in HELD.items():
        shared = how != "none" and name in ("grad_view", "grad_numpy", "grad_detached")
        add(f"calls/held_{name}-{how}", gradients_held(zero, use), "either" if shared else "works")


@scenario()
def gradients_given_to_another_parameter():
    w, v = nn.Parameter(rv.ones(3)), nn.Parameter(rv.zeros(3))

    def step(x):
        w.grad = None
        loss = (x * w * w).sum()
        loss.backward()
        return loss

    def each(n, result):
        if v.grad is None:
            v.grad = w.grad
        else:
            v.grad = v.grad + w.grad

    return Case(step, None, [w, v], each=each)


@scenario()
def gradient_by_rv_grad():
    w = nn.Parameter(rv.ones(3))

    def step(x):
        loss = (x * w * w).sum()
        return rv.autograd.grad(loss, [w])

    return Case(step, lambda n: w.data.mul_(2.0), [w])


@scenario()
def nothing_held():
    small = Small()
    return Case(lambda x: small.train(x, 1.5), None, small.watch, holds=False)
