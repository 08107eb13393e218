"""Gradients that a call leaves and the next one finds: two optimizers, accumulation, updates by hand.

A step trains a generator and a discriminator, two small networks, by actions that are written as words: "0g G
g" clears the generator's gradients, computes those of its loss and updates it. The step is called ten times,
compiled and eagerly. After each call the losses, weights, gradients and optimizers must have the same bits
(judge.py), and the gradients must be new objects in the same calls: programs keep a gradient, or add to it.
"""

import dataclasses
import functools

import numpy as np
import ranvier as rv
from compile.beside import drawn
from compile.staleness.judge import Case
from compile.staleness.scenario import eager, scenario, sets
from ranvier import nn, optim
from ranvier.nn import functional as F

noise_and_real = drawn((5, 2), (5, 3))  # other numbers at each call


class Pair:
    """A generator g and a discriminator d, and what the caller holds of their gradients."""

    def __init__(self, kind=optim.SGD, **settings):
        self.g = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))
        self.d = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
        self.of_g, self.of_d = (kind(m.parameters(), lr=0.05, **settings) for m in (self.g, self.d))
        self.parameters = [*self.g.parameters(), *self.d.parameters()]
        self.before, self.kept, self.same_objects, self.held = [], [], [], None

    @property
    def watch(self):
        return [self.g, self.d, self.of_g, self.of_d, self.kept, self.same_objects]

    def look(self, number, result):
        """Notes which gradients are the objects of the call before.

        The caller holds none of them in some calls: their memory may then be used again.
        """
        gradients = [p.grad for p in self.parameters]
        if self.before:
            self.same_objects.append([a is b for a, b in zip(self.before, gradients, strict=True)])
        self.before = gradients if number % 3 else []
        self.kept = [] if number % 4 == 3 else self.kept + [g for g in self.before if g is not None]

    def fake_is_real(self, z):
        """The generator's loss."""
        return F.softplus(-self.d(self.g(z))).mean()

    def is_right(self, z, x):
        """The discriminator's loss."""
        return (F.softplus(-self.d(x)) + F.softplus(self.d(self.g(z).detach()))).mean()


def backward(loss):
    """Adds its gradients; the loss without its history."""
    loss.backward()
    return loss.detach()


def each(change):
    """A change of each parameter of the discriminator that has a gradient."""

    def act(s, z, x):
        for p in s.d.parameters():
            if p.grad is not None:
                change(p)

    return act


def drop(p):
    p.grad = None


def halve(p):
    p.grad = p.grad * 0.5


def descend(p):
    p.data -= 0.1 * p.grad


# G and D add the gradients of a loss, g and d update a network; 0 makes its gradients None, = sets zeros.
# Each is a function of the Pair s and of the inputs z (noise) and x (real samples).
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


def actions(names):
    """A step that does these actions in turn and returns the losses."""
    chosen = [ACTIONS[name] for name in names.split()]

    def step(s, z, x):
        return [loss for loss in [act(s, z, x) for act in chosen] if loss is not None]

    return step


def stepped(run, s, step):
    """The usual way: the step is compiled, the Pair is compared and looked at after each call."""
    return Case(run.compile(lambda z, x: step(s, z, x)), watch=lambda: s, inputs=noise_and_real, each=s.look)


paired = functools.partial(scenario, ways=(stepped,))  # paired(make a Pair, its change or None, *steps)
ORDERS = (
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
    "None D by_hand",
    "module=d D d module0g G g",
    "None D d None",
    "zero_ D by_hand",
    "D halve d",
    "G clip g 0g D d",
    "0d D d g",  # updates what has no gradient
)
for kind in (optim.Adam, optim.SGD):
    paired(lambda v, kind=kind: Pair(kind), None, *map(actions, ORDERS))
for seed in range(40):
    rng = np.random.default_rng(seed)
    names = ["D", *rng.choice([*ACTIONS], rng.integers(4, 9)), "G"]
    paired(lambda v: Pair(momentum=0.5), None, eager(actions(" ".join(names))))


# --- what the caller does between calls, with the pair and a weight of its discriminator
def one_for_two(s, w):
    """One Tensor is the gradient of two parameters."""
    s.d[0].bias.grad = s.g[0].bias.grad = rv.ones(4)


def exchanged(s, w):
    """The gradient that was held comes back, and the caller holds the present one."""
    w.grad, s.held = rv.ones(4, 3) if s.held is None else s.held, w.grad


def in_turn(s, w):
    w.grad = rv.ones(4, 3) if w.grad is None else None


HISTORY = rv.ones(3, requires_grad=True)
CHANGES = (
    one_for_two,
    exchanged,
    in_turn,
    lambda s, w: sets("grad")(w, w.grad.t().clone().t()),
    lambda s, w: sets("grad")(w, (w.grad * HISTORY).detach().requires_grad_()),
    lambda s, w: sets("data")(w.grad, rv.ones(4, 3)),
    lambda s, w: sets("grad")(w, None),
    lambda s, w: sets("held")(s, w.grad.numpy()),
    lambda s, w: s.of_d.zero_grad(set_to_none=False),
    lambda s, w: s.g.zero_grad(),
)


def changing(at, change):
    """A way in which the caller makes the change after the calls `at`."""

    def way(run, s, step):
        def after(number, result):
            s.look(number, result)
            w = s.d[0].weight
            if number in at and (w.grad is not None or change is in_turn):
                change(s, w)

        case = stepped(run, s, step)
        return dataclasses.replace(case, each=after)

    return way


MOVES = "0g G g 0d D d"  # the gradients of the discriminator are in other memory at each call
for change in CHANGES:
    for at in ((4, 7), range(3, 12)):
        steps = map(actions, (MOVES, "G D d g", "=d D d", "0d D d g", "0d D d 0d"))
        paired(lambda v: Pair(), None, *map(eager, steps), ways=(changing(at, change),))


# --- two functions whose gradients meet, a gradient that is an argument, a check that fails between two moves
def by_two(run, s, step):
    """The generator's step leaves gradients in the discriminator, whose own step drops them."""
    first = run.compile(lambda z, x: actions("0g G g")(s, z, x))
    second = run.compile(lambda z, x: actions("0d D d")(s, z, x))
    both = lambda z, x: [first(z, x), second(z, x)]  # noqa: E731
    return Case(both, watch=lambda: s, inputs=noise_and_real, each=s.look)


def of_argument(run, s, step):
    """From call 7 on the caller passes a gradient that the step before has left."""

    def called(g, z, x):
        actions("D d 0d D")(s, z, x)
        return (g * 2).sum()

    def inputs(number):
        return rv.ones(4, 3) if number < 7 else s.d[0].weight.grad, *noise_and_real(number)

    return Case(run.compile(called), watch=lambda: s, inputs=inputs, each=s.look)


def checked(bad):
    """In the calls `bad` a loss gets 1.5, which is no probability, and raises between the two updates."""

    def way(run, s, step):
        def called(z, x, shares):
            actions("0g G g")(s, z, x)
            after = shares + 0 * s.d[0].weight.grad.sum()
            F.binary_cross_entropy(after, rv.full((3,), 0.5))
            return actions("0d D d")(s, z, x)

        def inputs(number):
            return *noise_and_real(number), rv.tensor([0.5, 1.5 if number in bad else 0.25, 1.0])

        return Case(run.compile(called), watch=lambda: s, inputs=inputs, each=s.look)

    return way


paired(lambda v: Pair(optim.Adam), None, actions(MOVES), ways=(by_two,))
paired(lambda v: Pair(), None, eager(actions(MOVES)), ways=(of_argument,))
for bad in ((5,), (6, 7), (4, 10)):
    paired(lambda v: Pair(optim.Adam), None, actions(MOVES), ways=(checked(bad),), raises=True)
