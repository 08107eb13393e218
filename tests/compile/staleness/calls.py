"""Calls of compiled steps: arguments, results, and what the caller does with them.

Each case is a step that is called ten times, compiled and eagerly: results, weights, gradients and whatever
the caller keeps must have the same bits after every call (judge.py). A step may also run eagerly, with a
warning, only where `eager(...)` marks it. `own` makes a class with these attributes, `given` sets attributes
(objects.py). `small.train(x, factor)` (small.py) updates a weight by a loss that has this factor.
"""

import collections
import dataclasses
import functools
from types import SimpleNamespace

import numpy as np
import ranvier as rv
from compile.staleness.judge import Case, default_inputs
from compile.staleness.objects import Bag, Doubled, Pair, Plain, Row, Settings, SlottedSettings, given, own
from compile.staleness.scenario import add, eager, scenario, sets
from compile.staleness.small import Small
from ranvier import nn, optim


def drawn(number, shape=(4, 3), dtype=np.float32):
    """Random numbers, others for each call number."""
    return np.random.default_rng(number).standard_normal(shape).astype(dtype)


def A(number, shape=(4, 3), dtype=np.float32):
    """A Tensor of random numbers, others for each call number."""
    return rv.tensor(drawn(number, shape, dtype))


def B(number):
    """As A, with other numbers."""
    return A(number + 100)


KEPT, INTS = rv.ones(4, 3) * 1.5, np.arange(12).reshape(4, 3)


# --- arguments: what a step gets in call n
def called(step, *inputs, **more):
    """step: of a Small and the arguments."""
    for marked in inputs:
        given_in = marked.function if isinstance(marked, eager) else marked

        def build(run, o, given_in=given_in):
            small = Small()
            return Case(
                run.compile(lambda *a, **k: step(small, *a, **k)), lambda: [small.watch, KEPT], given_in
            )

        add(build, given_in, eager=isinstance(marked, eager), **more)


def keyworded(small, x, mask=None, scale=2.0, *, bias=None, flag=False):
    """A step with arguments that may be left out or given by name."""
    y = x * 2 if mask is None else x - mask * 0.5
    y = y if bias is None else y + bias
    return small.train(y - 1 if flag else y, scale)


def summed(small, x, *more):
    """A step with any number of arguments."""
    for other in more:
        x = x - other.float() * other.float() * 0.5
    return small.train(x.float(), 1.5 + len(more))


def opened(small, parts):
    """A step that takes two tensors from a container."""
    opened_so = vars(parts) if isinstance(parts, SimpleNamespace) else parts
    a, b = list(opened_so.values())[:2] if isinstance(opened_so, dict) else opened_so[:2]
    a, b = (t if isinstance(t, rv.Tensor) else t[0] for t in (a, b))
    first = next(iter(parts)) if isinstance(parts, dict) else ""
    more = len(parts) + isinstance(parts, tuple) if isinstance(parts, (list, tuple)) else first == "a"
    return small.train(a - b * b, 0.5 + more)


called(
    keyworded,
    lambda n: ((), {"mask": B(n), "x": A(n)}),
    lambda n: ((), {"x": A(n), "mask": B(n), "bias": B(n + 1)}),
    lambda n: ((), {"x": A(n), "mask": B(n)} if n % 2 else {"mask": B(n), "x": A(n)}),
    lambda n: ((A(n), B(n)), {}) if n % 2 else ((A(n),), {"mask": B(n)}),
    lambda n: ((A(n),), {"mask": B(n)} if n % 2 else {}),
    lambda n: ((A(n),), {"scale": 2.0} if n % 2 else {}),
    lambda n: ((), {"scale": n % 3 * 1.0, "mask": B(n), "x": A(n)}),
    lambda n: ((A(n),), {"flag": n % 2 == 0}),
    lambda n: (A(n), None if n % 2 else B(n)),
)
called(
    summed,
    lambda n: (A(n, ((4, 3), (2, 3), (1, 3))[n % 3]),),
    lambda n: (A(n, ((4, 3), (3,), (2, 2, 3))[n % 3]),),
    lambda n: (A(n, (0 if n % 3 == 2 else 4, 3)),),
    lambda n: (A(n, dtype=(np.float32, np.float64)[n % 2]),),
    lambda n: (A(n, (n, 3)),),
    lambda n: (rv.tensor((INTS + n).astype((np.int64, np.int32)[n % 2])),),
    lambda n: (A(n) if n % 2 else A(n, (3, 4)).T,),
    lambda n: (A(n) if n % 2 else A(n, (8, 6))[::2, ::2],),
    eager(lambda n: (A(n) if n % 2 else rv.from_numpy(drawn(n)[::-1]),)),
    lambda n: (A(n) if n % 2 else A(n, (1, 3)).expand(4, 3),),
    lambda n: (A(n),) * 2,
    lambda n: (KEPT, KEPT if n % 2 else B(n)),
    lambda n: (KEPT,),
    lambda n: (lambda t: (t[:4], t[4:] if n % 2 else t[1:5]))(A(n, (8, 3))),
    lambda n: (A(n), A(n, (3,) if n % 2 else (1, 3))),
    lambda n: (A(n), rv.tensor(drawn(n) > 0)),
    lambda n: (A(n), rv.tensor(float(n))),
    lambda n: tuple(A(n + k) for k in range(1 + n % 3)),
)
called(
    lambda small, t: small.train(rv.as_tensor(t[0]).float(), len(t) + t[1] * 0.1),
    lambda n: (Doubled(A(n)),),
    lambda n: (Row((A(n), n)),),
    eager(lambda n: (Row((drawn(n), n)),)),
    lambda n: (Pair(drawn(n), n),),
)
called(
    opened,
    lambda n: ([A(n), B(n)],),
    lambda n: ({"a": A(n), "b": B(n)},),
    lambda n: (Pair(A(n), B(n)),),
    lambda n: ([[A(n)], (B(n), [1.0])],),
    lambda n: ([A(n), B(n), *[B(n + 1)] * (n % 3)],),
    lambda n: ((list, tuple)[n % 2]([A(n), B(n)]),),
    lambda n: ({"a": A(n), "b": B(n)} if n % 2 else {"b": B(n), "a": A(n)},),
    eager(lambda n: (SimpleNamespace(a=A(n), b=B(n)),)),
    eager(lambda n: (collections.OrderedDict(a=A(n), b=B(n)),)),
)
called(
    lambda small, x: small.train(rv.as_tensor(x).float(), 1.5),
    lambda n: (rv.from_numpy(drawn(n).astype("<f4" if n % 2 else "=f4")),),
    lambda n: (drawn(n),),
    eager(lambda n: (drawn(n).astype(">f4"),)),
)
called(
    lambda small, x: small.train(rv.as_tensor(x), 2.0 if isinstance(x, rv.Tensor) else 3.0),
    eager(lambda n: (A(n) if n % 2 else drawn(n),)),
)
called(
    lambda small, x: small.train(x.float(), float(len(x)) + (x.dtype == rv.float64)),
    lambda n: (A(n, (1 + n % 3, 3)),),
    lambda n: (A(n, (1 + n % 2, 3), (np.float32, np.float64)[n % 3 == 0]),),
)
called(
    lambda small, x: small.train(x, x.is_contiguous() + x.stride(0)),
    lambda n: (A(n) if n % 2 else A(n, (3, 4)).T,),
    lambda n: (A(n, (8, 3))[:: 1 + n % 2][:4],),
)
called(lambda small, x: ((x * x).sum().backward(), x.grad * 1.0)[1], lambda n: (A(n).requires_grad_(),))
called(
    lambda small, x: small.train(x.detach(), 1.5 if x.requires_grad else 2.0),
    lambda n: (A(n).requires_grad_(n % 2 == 1),),
)
called(
    lambda small, x: small.train(x, 1.0 if x.grad is None else 2.0),
    lambda n: (given(A(n), grad=rv.ones(4, 3) if n % 2 else None),),
)
called(
    lambda small, x, y: small.train(x, 2.0 if x is y else 3.0),
    lambda n: (KEPT, KEPT if n % 3 else KEPT.clone()),
)
called(
    lambda small, x, y: small.train(x, 2.0 if x.data_ptr() == y.data_ptr() else 3.0),
    eager(lambda n: (KEPT, KEPT if n % 3 else KEPT.clone())),
)
called(lambda small, x: x, eager(lambda n: (A(n),)))
called(
    lambda small, **xs: small.train(xs["a"] - xs["b"] * 3, float(len(xs))),
    lambda n: ((), {"abc"[k]: A(n + 10 * k) for k in range(1 + n % 2, -1, -1)}),
)
called(lambda small, x, model: model(x).sum(), eager(lambda n: (A(n), nn.Linear(3, 2))))
called(
    lambda small, x, /, scale, *, shift=0.0, **more: small.train(x * scale + shift, len(more) + 1),
    lambda n: ((A(n),), {"shift": n % 2 * 1.0, "scale": 2.0, **dict.fromkeys("a" * (n % 3))}),
)
called(
    lambda small, x, scale=1.5: small.train(x, scale),
    lambda n: (A(n, (4, 5 if n in (3, 6) else 3)),),
    lambda n: default_inputs(n) * (1 + (n in (3, 6))),
    lambda n: (default_inputs(n), {"scal" if n in (3, 6) else "scale": 2.0}),
    raises=True,
)


# --- arguments that the step or the caller changes, or that are parts of what the step knows
def passing(run, o, read):
    """Passes the thing, beside the input."""
    small = Small()
    return Case(
        run.compile(lambda x, o: read(small, x, o)),
        lambda: [small.watch, o],
        lambda n: (*default_inputs(n), o),
    )


def passing_in_turn(run, o, read):
    """Passes an element of it in each call."""
    small = Small()
    return Case(
        run.compile(lambda x: read(small, x, o)), lambda: [small.watch, o], lambda n: (o[n % len(o)],)
    )


def in_place(small, x, o):
    return x.mul_(2.0).sum()


def appended(small, xs, o):
    xs.append(xs[0] * 2.0)
    return xs[0].sum()


def with_leaf(small, x, o):
    o[0].grad = None
    loss = (x * o[0]).sum()
    loss.backward()
    return loss


scenario(lambda v: A(0), lambda o, v: o.mul_(v), lambda small, x, o: small.train(o, 1.5), ways=(passing,))
scenario(
    lambda v: Plain(A(0)),
    lambda o, v: sets("value")(o, A(int(v))),
    lambda small, x, o: small.train(o.value, 1.5),
    ways=(passing,),
)
scenario(lambda v: [], None, eager(lambda small, x, o: o.append(1) or x * float(len(o))), ways=(passing,))
scenario(
    lambda v: nn.Linear(3, 3),
    lambda o, v: o.weight.data.mul_(v),
    eager(lambda small, x, o: o(x).sum()),
    ways=(passing,),
)
scenario(
    lambda v: rv.zeros(4, 3), None, eager(lambda small, x, o: (o.add_(1.0), x * 2.0)[1]), ways=(passing,)
)
scenario(lambda v: [A(k) for k in range(12)], None, eager(in_place), ways=(passing_in_turn,))
scenario(lambda v: [[A(k)] for k in range(12)], None, eager(appended), ways=(passing_in_turn,))
scenario(
    lambda v: [nn.Parameter(rv.full((4, 3), k)) for k in (1.0, 2.0)], None, with_leaf, ways=(passing_in_turn,)
)
for make, change, read in (  # attributes of an argument that hide those of its class, and those of its class
    (lambda v: A(0), lambda o, v: sets("sum")(o, lambda: v), lambda small, x, o: small.train(x, o.sum())),
    (
        lambda v: own(Plain)(v),
        lambda o, v: sets("value")(type(o), property(lambda self: v)),
        lambda small, x, o: small.train(x, o.value),
    ),
    (
        lambda v: own(Pair, scale=v)(1, 2),
        lambda o, v: sets("scale")(type(o), v),
        lambda small, x, o: small.train(x, o.scale),
    ),
    (
        lambda v: optim.SGD([nn.Parameter(rv.ones(3))], lr=0.5),
        lambda o, v: sets("state")(o, dict.fromkeys(range(int(v)))),
        lambda small, x, o: small.train(x, 1.0 + len(o.state)),
    ),
):
    scenario(make, change, read, ways=(passing,))


# --- results: what the step returns, of (loss, y, the weight), and what the caller does with it
@dataclasses.dataclass
class Late:
    loss: object
    norm: object = dataclasses.field(init=False)


@dataclasses.dataclass
class Given:
    loss: object
    scale: dataclasses.InitVar[float]
    scaled: object = None

    def __post_init__(self, scale):
        self.scaled = self.loss * scale


@dataclasses.dataclass
class Closed:
    loss: object

    def __getstate__(self):
        raise TypeError("not to be pickled")


def returning(run, o, returns):
    small = Small()
    return Case(run.compile(lambda x: returns(*small.train(x, 1.5), small.w)), lambda: small.watch)


def changed_by_caller(run, o, returns):
    """The caller changes results in place."""

    def each(number, result):
        for x in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(x, rv.Tensor) and x.dtype == rv.float32 and x.ndim and x.is_contiguous():
                x.detach().mul_(2.0)

    case = returning(run, o, returns)
    return dataclasses.replace(case, each=each)


def released(run, o, returns):
    """The caller keeps no result."""
    return dataclasses.replace(returning(run, o, returns), holds=False)


def itself(loss, y, w):
    made = [y]
    made.append(made)
    return made


returned = functools.partial(scenario, lambda v: None, None)
returned(
    lambda loss, y, w: [loss, [y]],
    lambda loss, y, w: {"loss": loss, "more": {"y": y}},
    lambda loss, y, w: Pair(loss, y),
    lambda loss, y, w: Settings(loss, y),
    lambda loss, y, w: None,
    lambda loss, y, w: (loss, 3, "text", None),
    lambda loss, y, w: y.T,
    lambda loss, y, w: loss.expand(3),
    lambda loss, y, w: (y, y.shape),
    lambda loss, y, w: w.grad,
    lambda loss, y, w: w.grad[:2],
    lambda loss, y, w: w,
    lambda loss, y, w: w.detach()[:2],
    lambda loss, y, w: w.data,
    lambda loss, y, w: loss.detach(),
    lambda loss, y, w: collections.OrderedDict(y=y, loss=loss),
    lambda loss, y, w: (loss, rv.rand(2)),
    lambda loss, y, w: y.argmax(1),
    lambda loss, y, w: y > 0,
    lambda loss, y, w: ([y], [y * 2]),
    lambda loss, y, w: (y * 9).long(),
    lambda loss, y, w: y.double(),
    lambda loss, y, w: SlottedSettings(y),
    lambda loss, y, w: Settings([y], collections.OrderedDict(a=Settings({"b": loss}, None))),
    lambda loss, y, w: rv.constant(np.full(3, 2, np.float32)) + loss,
    lambda loss, y, w: Given(loss, 2.0),
    lambda loss, y, w: Late(loss),
    lambda loss, y, w: Closed(loss),
    lambda loss, y, w: Doubled(loss),
    eager(lambda loss, y, w: Row((loss, y))),
    eager(lambda loss, y, w: Bag(y=y)),
    eager(lambda loss, y, w: SimpleNamespace(loss=loss, y=y)),
    eager(lambda loss, y, w: (loss, {1, 2})),
    eager(lambda loss, y, w: (loss, np.ones(2))),
    eager(lambda loss, y, w: ([y],) * 2),
    eager(lambda loss, y, w: (lambda b: [b, {"b": b}])({"y": y})),
    eager(itself),
    eager(lambda loss, y, w: Settings(y, {1})),
    eager(lambda loss, y, w: (loss, (y * 2).requires_grad_())),
    ways=(returning,),
)
returned(
    lambda loss, y, w: loss,
    lambda loss, y, w: (loss, y),
    lambda loss, y, w: [loss, [y]],
    lambda loss, y, w: (y, y),
    lambda loss, y, w: (y, y[0]),
    lambda loss, y, w: w.grad.clone(),
    lambda loss, y, w: (loss, rv.zeros(2)),
    ways=(returning, changed_by_caller),
)
returned(lambda loss, y, w: (loss, y), ways=(released,))
