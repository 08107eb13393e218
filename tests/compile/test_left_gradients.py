"""Gradients that a call leaves and the next one finds: two optimizers, accumulation, updates by hand."""

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits, drawn, outcome, same
from ranvier import nn, optim
from ranvier.nn import functional as F
from support.strict import strict

CALLS = 12
given = drawn((5, 2), (5, 3))


class Pair(nn.Module):
    """A generator and a discriminator."""

    def __init__(self, kind=optim.SGD, **settings):
        super().__init__()
        self.g = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))
        self.d = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
        self.of_g, self.of_d = (kind(m.parameters(), lr=0.05, **settings) for m in (self.g, self.d))

    def fake_is_real(self, z):
        return F.softplus(-self.d(self.g(z))).mean()

    def is_right(self, z, x):
        return (F.softplus(-self.d(x)) + F.softplus(self.d(self.g(z).detach()))).mean()


def backward(loss):
    loss.backward()
    return loss.detach()


def each(change):
    """A change of each parameter of the discriminator that has a gradient."""

    def act(s, z, x):
        for p in s.d.parameters():
            if p.grad is not None:
                change(p)

    return act


def halve(p):
    p.grad = p.grad * 0.5


def drop(p):
    p.grad = None


def descend(p):
    p.data -= 0.1 * p.grad


ACTIONS = {
    "G": lambda s, z, x: backward(s.fake_is_real(z)),
    "D": lambda s, z, x: backward(s.is_right(z, x)),
    "g": lambda s, z, x: s.of_g.step(),
    "d": lambda s, z, x: s.of_d.step(),
    "0g": lambda s, z, x: s.of_g.zero_grad(),
    "0d": lambda s, z, x: s.of_d.zero_grad(),
    "=g": lambda s, z, x: s.of_g.zero_grad(set_to_none=False),
    "=d": lambda s, z, x: s.of_d.zero_grad(set_to_none=False),
    "module=d": lambda s, z, x: s.d.zero_grad(set_to_none=False),
    "module0g": lambda s, z, x: s.g.zero_grad(),
    "None": each(drop),
    "zero_": each(lambda p: p.grad.zero_()),
    "halve": each(halve),
    "by_hand": each(descend),
    "clip": lambda s, z, x: nn.utils.clip_grad_norm_(s.d.parameters(), 0.1) * 1,
}


def maker(actions, kind=optim.SGD, **settings):
    """Of a step of these actions, which returns the losses; and what the caller holds of gradients."""
    chosen = [ACTIONS[name] for name in actions.split()]

    def make():
        s = Pair(kind, **settings)

        def step(z, x):
            return [loss for loss in [act(s, z, x) for act in chosen] if loss is not None]

        return step, s, s.of_g, s.of_d, [], [], []

    return make


def compare(actions, kind=optim.SGD, change=None, inputs=given, calls=CALLS, strict=True, **settings):
    """The same bits, gradients in the same objects, and in those that the caller keeps the same values.

    change: called with the number of a call and the pair, after the call.
    """

    def between(number, s, of_g, of_d, before, kept, same_objects):
        gradients = [p.grad for p in s.parameters()]
        if before:
            same_objects.append([a is b for a, b in zip(before, gradients, strict=True)])
        before.clear()
        if number % 4 == 3:
            kept.clear()
        if change is not None:
            change(number, s)
        if number % 3:  # else nothing holds them during the call
            before += [p.grad for p in s.parameters()]
            kept += [g for g in before if g is not None]

    return same(maker(actions, kind, **settings), inputs, calls, between, strict=strict)


ORDERS = [
    "0g G g 0d D d",
    "0d D d 0g G g",
    "0d 0g D d G g",
    "D 0d D d 0d G g 0g",
    "D d 0d G g 0g",
    "=d D d =g G g",
    "D d =d G g =g",
    "0d D d G g",
    "0g D d G g",
    "D d G g",
    "D D clip d 0d G g 0g",
    "module=d D d module0g G g",
    "None D by_hand",
    "None D d None",
    "zero_ D by_hand",
    "D halve d",
    "G clip g 0g D d",
    "0d D d g",  # updates what has no gradient
]


@pytest.mark.parametrize("kind", [optim.Adam, optim.SGD])
@pytest.mark.parametrize("order", ORDERS)
def test_usual_orders_are_replayed(order, kind, records):
    step = compare(order, kind)
    assert len(records) <= 6  # two recordings, the checks; of 12 calls
    assert all(len(program.instructions) > 3 for program in step.programs)


@pytest.mark.filterwarnings("ignore:.*runs eagerly")  # to clip no gradients, say
@pytest.mark.parametrize("seed", range(40))
def test_random_orders_have_the_bits_of_eager_calls(seed):
    rng = np.random.default_rng(seed)
    names = [str(name) for name in rng.choice(list(ACTIONS), rng.integers(4, 9))]

    def zeroed(number, s):
        if number % 4 == 1 and seed % 2:
            (s.of_d if number % 8 == 1 else s.g).zero_grad(set_to_none=seed % 4 == 1)

    compare(" ".join(["D", *names, "G"]), change=zeroed, strict=False, momentum=0.5)


def test_accumulation_over_calls_has_a_program_for_each_of_two_signatures(records):
    def make():
        s = Pair(optim.Adam)

        def step(x, y, update):
            loss = F.mse_loss(s.g(x), y)
            loss.backward()
            if update:
                s.of_g.step()
                s.of_g.zero_grad()
            return loss.detach()

        return step, s

    step = same(make, lambda number: (*given(number), number % 2 == 1), 24)
    assert len(step.programs) == 2
    assert len(records) <= 9


def test_two_compiled_functions_whose_gradients_meet(records):
    """The generator's step leaves gradients in the discriminator, whose own step drops them."""
    found = []
    for wrap in (lambda step: step, strict):
        rv.manual_seed(0)
        make, shown = maker("0g G g", optim.Adam), []
        first, s, *_ = make()
        second = lambda z, x, s=s: [ACTIONS[name](s, z, x) for name in ("0d", "D", "d")][1]  # noqa: E731
        both = [wrap(first), wrap(second)]
        for number in range(CALLS):
            shown += [bits([step(*given(number)), s]) for step in both]
        found.append(shown)
    assert found[0] == found[1]
    assert len(records) <= 12  # of 24


# --- what the caller does between calls: with the pair and a weight of its discriminator, after some calls
HELD = {}
CHANGES = {
    "one for two": ({4}, lambda s, w: one_for(s.d[0].bias, s.g[0].bias)),
    "another layout": ({5}, lambda s, w: setattr(w, "grad", w.grad.t().clone().t())),
    "with a history": ({4}, lambda s, w: setattr(w, "grad", (w.grad * HISTORY).detach().requires_grad_())),
    "other data": ({3, 6}, lambda s, w: setattr(w.grad, "data", rv.ones(4, 3))),
    "without": ({4, 7}, lambda s, w: setattr(w, "grad", None)),
    "an array held": ({4, 5, 6}, lambda s, w: HELD.update({s: w.grad.numpy()})),
    "two in turn": (range(3, CALLS), lambda s, w: exchanged(s, w)),
    "in turn": (range(CALLS), lambda s, w: setattr(w, "grad", rv.ones(4, 3) if w.grad is None else None)),
}  # fmt: skip
HISTORY = rv.ones(3, requires_grad=True)
MOVES = "0g G g 0d D d"  # the gradients of the discriminator are in other memory at each call


def one_for(p, q):
    p.grad = q.grad = rv.ones(4)


def exchanged(s, w):
    w.grad, HELD[s] = HELD.get(s, rv.ones(4, 3)), w.grad


@pytest.mark.filterwarnings("ignore:.*runs eagerly")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("actions", [MOVES, "G D d g", "=d D d", "0d D d g", "0d D d 0d"])
def test_gradients_that_the_caller_makes(actions, change, records):
    at, act = CHANGES[change]

    def between(number, s):
        w = s.d[0].weight
        if number in at and (w.grad is not None or change == "in turn"):
            act(s, w)

    compare(actions, change=between, strict=False)
    HELD.clear()
    assert (actions, change) != ("0d D d 0d", "in turn") or len(records) <= 5


def test_a_gradient_that_is_an_argument():
    def make():
        s = Pair()

        def step(g, z, x):
            s.is_right(z, x).backward()
            s.of_d.step()
            s.of_d.zero_grad()
            s.is_right(z, x).backward()
            return (g * 2).sum()

        own.append(s)
        return step, s

    def inputs(number):
        return rv.ones(4, 3) if number < 6 else own[-1].d[0].weight.grad, *given(number)

    own = []
    same(make, inputs, CALLS, strict=False)


def test_many_calls_in_one_where_gradients_move(runs):
    found = []
    for run in (False, True):
        rv.manual_seed(0)
        step, s, *_ = maker(MOVES)()
        data = [rv.stack(parts) for parts in zip(*map(given, range(CALLS)), strict=True)]
        losses = strict(step).run(*data) if run else [step(*row) for row in zip(*data, strict=True)]
        found.append(bits([s, [*losses[0]] if run else [a for a, _ in losses]]))
    assert found[0] == found[1]
    assert not any(runs)


def set_to_an_argument(p, x):
    p.grad = x


def set_to_a_view(p, x):
    (p * x).sum().backward()
    p.grad = p.grad.detach()


def set_the_data(p, x):
    (p * x).sum().backward()
    p.grad.data = p.grad * 2


@pytest.mark.parametrize("step", [set_to_an_argument, set_to_a_view, set_the_data])
def test_gradients_that_a_replay_could_not_set(step):
    p = nn.Parameter(rv.ones(3))
    p.grad = rv.ones(3)
    with pytest.raises(rv.CaptureError, match=r"not made a gradient|changes its data"):
        strict(lambda x: step(p, x))(rv.ones(3))


@pytest.mark.parametrize("bad", [[4], [5, 6], [3, 9]])
def test_a_check_that_fails_leaves_moved_gradients_as_the_eager_step_does(bad):
    def make():
        s = Pair(optim.Adam)

        def step(z, x, shares):
            s.of_g.zero_grad()
            s.fake_is_real(z).backward()
            s.of_g.step()
            after = shares + 0 * s.d[0].weight.grad.sum()  # checked after the gradients' change
            F.binary_cross_entropy(after, rv.full((3,), 0.5))
            s.of_d.zero_grad()
            s.is_right(z, x).backward()
            s.of_d.step()

        return step, s

    def inputs(number):
        return *given(number), rv.tensor([0.5, 1.5 if number in bad else 0.25, 1.0])

    step = same(make, inputs, CALLS)
    assert len(step.programs) == 2
    raised = [number for number in range(CALLS) if outcome(make()[0], *inputs(number)) is not None]
    assert raised == bad
