"""Arguments: tensors in containers, shapes, dtypes, layouts, aliases."""

import collections
import types

import numpy as np
import ranvier as rv
from program.staleness.calls_arguments import A, B, C, Config, drawn, tensor
from program.staleness.judge import Case, add, scenario
from program.staleness.small import Small, reading, trains
from ranvier import nn, optim

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
        if (how == "order_of_keys" and name not in ("dict", "ordered_dict")) or (
            how == "longer" and name != "list"
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
    "dtypes": alternating(lambda n: (tensor(n),), lambda n: (tensor(n, dtype=np.float64),)),
    "ints": alternating(
        lambda n: (rv.tensor(np.arange(12).reshape(4, 3) + n),),
        lambda n: (rv.tensor(np.arange(12, dtype=np.int32).reshape(4, 3) - n),),
    ),
    "transposed": alternating(lambda n: (tensor(n),), lambda n: (tensor(n, (3, 4)).T,)),
    "strided": alternating(lambda n: (tensor(n),), lambda n: (tensor(n, (8, 6))[::2, ::2],)),
    "reversed": alternating(lambda n: (tensor(n),), lambda n: (rv.from_numpy(drawn(n)[::-1]),)),
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
    return trains(
        lambda x: (rv.as_tensor(x), 1.5),
        inputs=lambda n: (rv.from_numpy(drawn(n).astype("<f4" if n % 2 else "=f4")),),
    )


@scenario()
def length_decides():
    return trains(
        lambda x: (x, float(len(x) + x.shape[0] * x.ndim)), inputs=lambda n: (tensor(n, (1 + n % 3, 3)),)
    )


@scenario()
def shape_and_dtype_decide():
    return trains(
        lambda x: (x.float(), 2.0 if x.dtype == rv.float64 else float(x.numel())),
        inputs=lambda n: (tensor(n, (1 + n % 2, 3), (np.float32, np.float64)[n % 3 == 0]),),
    )


@scenario()
def layout_decides():
    return trains(
        lambda x: (x, 2.0 if x.is_contiguous() else 3.0),
        inputs=lambda n: (tensor(n) if n % 2 else tensor(n, (3, 4)).T,),
    )


@scenario("either")
def strides_decide():
    return trains(
        lambda x: (x, float(x.stride(0))), inputs=lambda n: (tensor(n) if n % 2 else tensor(n, (8, 3))[::2],)
    )


@scenario("either")
def identity_of_arguments_decides():
    small = Small()
    return Case(
        lambda x, y: small.train(x, 2.0 if x is y else 3.0),
        None,
        small.watch,
        lambda n: (lambda t: (t, t if n % 3 else t.clone()))(tensor(n)),
    )


@scenario("either")
def address_of_arguments_decides():
    small = Small()
    return Case(
        lambda x, y: small.train(x, 2.0 if x.data_ptr() == y.data_ptr() else 3.0),
        None,
        small.watch,
        lambda n: (lambda t: (t, t if n % 3 else t.clone()))(tensor(n)),
    )


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
    def inputs(n):
        x = tensor(n)
        return (x.requires_grad_() if n % 2 else x,)

    return trains(lambda x: (x.detach(), 1.5), inputs=inputs)


@scenario()
def argument_changed_in_place_by_the_caller():
    x = tensor(0)
    return reading(lambda: 1.5, lambda n: x.mul_(2.0), inputs=lambda n: (x,))


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
    return Case(
        lambda *xs: small.train(sum(xs), float(len(xs))),
        None,
        small.watch,
        lambda n: tuple(tensor(n + k) for k in range(1 + n % 3)),
    )


@scenario()
def star_keywords():
    small = Small()

    names = ("a", "b", "c")

    def inputs(n):
        chosen = [(name, tensor(n + 10 * k)) for k, name in enumerate(names[: 2 + n % 2])]
        return (), dict(reversed(chosen))

    return Case(lambda **xs: small.train(xs["a"] - xs["b"] * 3, float(len(xs))), None, small.watch, inputs)


@scenario()
def new_numbers_in_each_call():
    small = Small()
    return Case(lambda x, number: small.train(x, number * 0.1), None, small.watch, lambda n: (tensor(n), n))


@scenario()
def new_shapes_in_each_call():
    return reading(lambda: 1.0, inputs=lambda n: (tensor(n, (n, 3)),))
