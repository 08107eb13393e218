"""Gradients that a call leaves and the next one finds: two optimizers, accumulation, updates by hand."""

import copy

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.compile import compiled
from ranvier.compile.batches import Batches
from ranvier.nn import functional as F

CALLS = 12


class Pair:
    """A generator and a discriminator."""

    def __init__(self, kind=optim.Adam, **settings):
        rv.manual_seed(0)
        self.g = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))
        self.d = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
        self.of_g, self.of_d = (kind(m.parameters(), lr=0.05, **settings) for m in (self.g, self.d))

    def fake_is_real(self, z):
        return F.softplus(-self.d(self.g(z))).mean()

    def is_right(self, z, x):
        return (F.softplus(-self.d(x)) + F.softplus(self.d(self.g(z).detach()))).mean()

    def parameters(self):
        return [*self.g.parameters(), *self.d.parameters()]


def backward(loss):
    loss.backward()
    return loss.detach()


def drop(module):
    for p in module.parameters():
        p.grad = None


def fill(module):
    for p in module.parameters():
        if p.grad is not None:
            p.grad.zero_()


def halve(module):
    for p in module.parameters():
        if p.grad is not None:
            p.grad = p.grad * 0.5


def descend(module):
    for p in module.parameters():
        if p.grad is not None:
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
    "None": lambda s, z, x: drop(s.d),
    "zero_": lambda s, z, x: fill(s.d),
    "halve": lambda s, z, x: halve(s.d),
    "by_hand": lambda s, z, x: descend(s.d),
    "clip": lambda s, z, x: nn.utils.clip_grad_norm_(s.d.parameters(), 0.1) * 1,
}


def made(actions):
    """A step of these actions, which returns the losses."""
    chosen = [ACTIONS[name] for name in actions]

    def step(s, z, x):
        return [loss for loss in [act(s, z, x) for act in chosen] if loss is not None]

    return step


def bits(s, losses=()):
    gradients = [p.grad for p in s.parameters()]
    tensors = [*losses, *s.parameters(), *gradients]
    return [None if t is None else t.detach().numpy().tobytes() for t in tensors]


def batches(seed):
    rng = np.random.default_rng(seed)
    for _ in range(CALLS):
        yield rv.tensor(rng.normal(size=(5, 2)).astype("f")), rv.tensor(rng.normal(size=(5, 3)).astype("f"))


@pytest.fixture
def other_calls(monkeypatch):
    """Grows at each call that is not a replay."""
    calls = []
    for name in ("_record", "_missed"):
        function = getattr(compiled.CompiledFunction, name)

        def counted(self, *arguments, function=function, **more):
            calls.append(arguments)
            return function(self, *arguments, **more)

        monkeypatch.setattr(compiled.CompiledFunction, name, counted)
    return calls


def compare(step, eager, between=None, seed=0):
    """Calls of the step on a pair and of its compiled form on a copy, with the same bits.

    between(number, pair): what the caller does after a call.
    """
    pair = copy.deepcopy(eager)
    fast = rv.compile(lambda z, x: step(pair, z, x))
    kept = []
    for number, (z, x) in enumerate(batches(seed)):
        before = [[p.grad for p in s.parameters()] for s in (eager, pair)]
        if number % 3:  # else nothing holds them during the call
            kept.append(before)
        expected, losses = step(eager, z, x), fast(z, x)
        assert bits(pair, losses) == bits(eager, expected), number
        if number % 3:
            same = [
                [p.grad is g for p, g in zip(s.parameters(), b, strict=True)]
                for s, b in zip((eager, pair), before, strict=True)
            ]
            assert same[0] == same[1], number
        del before
        for theirs, ours in kept:
            for a, b in zip(theirs, ours, strict=True):
                assert (a is None) == (b is None)
                assert a is None or (a.detach().numpy() == b.detach().numpy()).all()
        if number % 4 == 3:
            kept.clear()
        if between is not None:
            between(number, eager), between(number, pair)
    return fast


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
def test_usual_orders_are_replayed(order, kind, other_calls):
    compare(made(order.split()), Pair(kind))
    assert len(other_calls) <= 6  # two recordings, the checks; of 12 calls


def test_gradients_that_the_step_drops_first_and_last_may_be_there_or_not(other_calls):
    def between(number, s):
        s.d[0].weight.grad = rv.ones(4, 3) if number % 2 else None

    compare(made(["0d", "D", "d", "0d"]), Pair(optim.SGD), between)
    assert len(other_calls) <= 5


@pytest.mark.filterwarnings("ignore:.*runs eagerly")  # to clip no gradients, say
@pytest.mark.parametrize("seed", range(40))
def test_random_orders_have_the_bits_of_eager_calls(seed):
    rng = np.random.default_rng(seed)
    names = [str(name) for name in rng.choice(list(ACTIONS), rng.integers(4, 9))]

    def zeroed(number, s):
        if number % 4 == 1 and seed % 2:
            (s.of_d if number % 8 == 1 else s.g).zero_grad(set_to_none=seed % 4 == 1)

    compare(made(["D", *names, "G"]), Pair(optim.SGD, momentum=0.5), zeroed, seed)


def test_accumulation_over_calls_has_a_program_for_each_of_two_signatures(other_calls):
    def step(s, x, y, update):
        loss = F.mse_loss(s.g(x), y)
        loss.backward()
        if update:
            s.of_g.step()
            s.of_g.zero_grad()
        return loss.detach()

    eager = Pair()
    fast = copy.deepcopy(eager)
    compiled_step = rv.compile(lambda x, y, update: step(fast, x, y, update))
    for number, (x, y) in enumerate([*batches(0), *batches(1)]):
        expected = step(eager, x, y, number % 2 == 1)
        losses = compiled_step(x, y, number % 2 == 1)
        assert bits(fast, [losses]) == bits(eager, [expected]), number
    assert len(compiled_step.programs) == 2
    assert len(other_calls) <= 9  # of 24


def test_two_compiled_functions_whose_gradients_meet(other_calls):
    """The generator's step leaves gradients in the discriminator, whose own step drops them."""

    def steps(s):
        return made(["0g", "G", "g"]), made(["0d", "D", "d"])

    eager = Pair()
    fast = copy.deepcopy(eager)
    both = [rv.compile(lambda z, x, step=step: step(fast, z, x)) for step in steps(fast)]
    for z, x in batches(0):
        for step, compiled_step in zip(steps(eager), both, strict=True):
            assert bits(fast, compiled_step(z, x)) == bits(eager, step(eager, z, x)), len(other_calls)
    assert len(other_calls) <= 12  # of 24


# the gradients of the discriminator are in other memory at each call
MOVES = ["0g", "G", "g", "0d", "D", "d"]


def test_a_program_is_shown_between_calls():
    shown = []
    eager = Pair()
    pair = copy.deepcopy(eager)
    step = made(MOVES)
    fast = rv.compile(lambda z, x: step(pair, z, x))
    for number, (z, x) in enumerate(batches(0)):
        assert bits(pair, fast(z, x)) == bits(eager, step(eager, z, x)), number
        shown += [len(p.instructions) for p in fast.programs]
    assert min(shown) > 20


def one_for_two(number, s):
    if number == 4:
        s.d[0].bias.grad = s.g[0].bias.grad = rv.ones(4)


def other_layout(number, s):
    if number == 5:
        p = s.d[0].weight
        p.grad = p.grad.t().clone().t()


def array_held(number, s):
    s.array = s.d[0].weight.grad.numpy() if number in (4, 6) else None


def with_history(number, s):
    if number == 4:
        s.d[0].weight.grad = (s.d[0].weight.grad * rv.ones(3, requires_grad=True)).detach().requires_grad_()


def without(number, s):
    if number in (4, 7):
        s.d[0].weight.grad = None


def two_in_turn(number, s):
    w = s.d[0].weight
    if number == 3:
        s.other = rv.ones(4, 3)
    if number >= 3:
        w.grad, s.other = s.other, w.grad


@pytest.mark.parametrize(
    "between", [one_for_two, other_layout, array_held, with_history, without, two_in_turn]
)
@pytest.mark.parametrize("actions", [MOVES, *map(str.split, ("G D d g", "=d D d", "0d D d g"))], ids="-".join)
def test_gradients_that_the_caller_makes(actions, between):
    compare(made(actions), Pair(optim.SGD), between)


def test_a_gradient_that_is_an_argument():
    def step(s, g, x):
        s.is_right(x[:, :2], x).backward()
        s.of_d.step()
        s.of_d.zero_grad()
        s.is_right(x[:, :2], x).backward()
        return (g * 2).sum()

    eager = Pair(optim.SGD)
    pair = copy.deepcopy(eager)
    fast = rv.compile(lambda g, x: step(pair, g, x))
    for number, (_, x) in enumerate(batches(0)):
        arguments = [rv.ones(4, 3) if number < 6 else s.d[0].weight.grad for s in (eager, pair)]
        expected, result = step(eager, arguments[0], x), fast(arguments[1], x)
        assert bits(pair, [result]) == bits(eager, [expected]), number


def test_many_batches_in_one_call_are_declined_where_gradients_move():
    pair = Pair(optim.SGD)
    step = made(MOVES)
    fast = rv.compile(lambda x: step(pair, x[:, :2], x))
    x = np.ones((8, 3), np.float32)
    for _ in range(3):
        fast(rv.tensor(x[:4]))
    before = bits(pair)
    assert fast.run_batches((x,), Batches(None, 4, 0, 2)) is None
    assert bits(pair) == before


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("not made a gradient", lambda p, x: setattr(p, "grad", x)),
        ("not made a gradient", lambda p, x: (p * x).sum().backward() or setattr(p, "grad", p.grad.detach())),
        ("changes its data", lambda p, x: (p * x).sum().backward() or setattr(p.grad, "data", p.grad * 2)),
    ],
)
def test_gradients_that_a_replay_could_not_set(text, step):
    p = nn.Parameter(rv.ones(3))
    p.grad = rv.ones(3)
    with pytest.raises(rv.CaptureError, match=text):
        rv.compile(lambda x: step(p, x), strict=True)(rv.ones(3))


@pytest.mark.parametrize("bad", [[4], [5, 6], [3, 9]])
def test_a_check_that_fails_leaves_moved_gradients_as_the_eager_step_does(bad):
    def step(s, z, x, shares):
        s.of_g.zero_grad()
        s.fake_is_real(z).backward()
        s.of_g.step()
        after = shares + 0 * s.d[0].weight.grad.sum()  # so that they are checked after the gradients' change
        F.binary_cross_entropy(after, rv.full((3,), 0.5))
        s.of_d.zero_grad()
        s.is_right(z, x).backward()
        s.of_d.step()

    def outcome(run, *arguments):
        try:
            return run(*arguments)
        except ValueError as error:
            return str(error)

    eager = Pair()
    pair = copy.deepcopy(eager)
    fast = rv.compile(lambda *arguments: step(pair, *arguments))
    for number, (z, x) in enumerate(batches(0)):
        shares = rv.tensor([0.5, 1.5 if number in bad else 0.25, 1.0])
        expected = outcome(step, eager, z, x, shares)
        assert outcome(fast, z, x, shares) == expected, number
        assert (expected is not None) == (number in bad)
        assert bits(pair) == bits(eager), number
    assert len(fast.programs) == 2


HOLDS = {
    "the Tensor": lambda g: g,
    "detach": lambda g: g.detach(),
    "numpy": lambda g: g.numpy(),
    "a view": lambda g: g[0],
    "nothing": lambda g: 0,
}


@pytest.mark.parametrize("zero", ["never", "inside", "in place"])
@pytest.mark.parametrize("hold", HOLDS)
def test_gradients_that_are_added_to_and_held(zero, hold):
    """What holds a gradient from the ninth call on sees the sums that follow, as after eager steps."""

    def run(make):
        rv.manual_seed(0)
        layer, seen, held = rv.nn.Linear(3, 3), [], []
        optimizer = optim.SGD(layer.parameters(), lr=0.01)

        def step(x):
            (layer(x) ** 2).sum().backward()
            optimizer.step()
            if zero != "never":
                optimizer.zero_grad(set_to_none=zero == "inside")

        fast = make(step)
        for number, (_, x) in enumerate([*batches(0), *batches(1)]):
            fast(x)
            if layer.weight.grad is not None and number >= 8:
                held.append(HOLDS[hold](layer.weight.grad))
            seen.append([np.array(h).tobytes() for h in (*held, layer.weight.detach())])
        return seen

    assert run(rv.compile) == run(lambda step: step)
