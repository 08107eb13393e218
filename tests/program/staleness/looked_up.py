"""Failed look-ups: attributes that are added later, methods after those that super() skips."""

import contextlib
import copy
import dataclasses
import datetime
import threading
import types

import numpy as np
import ranvier as rv
from program.staleness.judge import Case, add, labelled, scenario
from program.staleness.optimizers_changed import Two
from program.staleness.small import classifies, descends, network, reading
from ranvier import nn, optim

# --- attributes that do not exist when the step is recorded


class Slotted:
    __slots__ = ("gain",)


class Fallback:
    def __getattr__(self, name):
        return {"gain": 1.0}[name]


class FallbackAfterSlot(Fallback):
    __slots__ = ("gain",)


def attribute_error(owner):
    try:
        return owner.gain
    except AttributeError:
        return 1.0


def bare_except(owner):
    try:
        return owner.gain
    except:  # noqa: E722
        return 1.0


ERRORS = KeyError, AttributeError


def errors_by_name(owner):
    try:
        return owner.gain
    except ERRORS:
        return 1.0


def suppressed(owner):
    with contextlib.suppress(AttributeError):
        return owner.gain
    return 1.0


OWNERS = {
    "object": lambda: type("Settings", (), {})(),
    "class": lambda: type("Settings", (), {}),
    "namespace": types.SimpleNamespace,
    "slot": Slotted,
    "of_thread": threading.local,
    "module": lambda: types.ModuleType("ranvier_staleness_settings"),
    "function": lambda: lambda: 1,
    "layer": lambda: nn.Linear(1, 1),
}
READERS = {
    "attribute_error": attribute_error,
    "bare_except": bare_except,
    "errors_by_name": errors_by_name,
    "suppressed": suppressed,
    "hasattr": lambda owner: owner.gain if hasattr(owner, "gain") else 1.0,
    "getattr": lambda owner: getattr(owner, "gain", 1.0),
    "getattr_of_a_computed_name": lambda owner: getattr(owner, "".join(("ga", "in")), 1.0),
}


def missing(make, read):
    def build():
        owner = make()

        def change(n):
            if n == 2:
                del owner.gain
            else:
                owner.gain = 1.0 + n

        return reading(lambda: read(owner), change)

    return build


for owner_name, make in OWNERS.items():
    for reader_name, read in READERS.items():
        add(f"looked_up/{owner_name}-{reader_name}", missing(make, read))
for make in (Fallback, FallbackAfterSlot):
    add(f"looked_up/{make.__name__}", missing(make, lambda owner: owner.gain))

# --- what super() finds


def family():
    class Base:
        gain = 2.0

        def method(self):
            return self.gain

        @classmethod
        def of_class(cls):
            return cls.gain

        @property
        def value(self):
            return self.gain

    class Middle(Base):
        pass

    class Other(Base):
        pass

    class Below(Middle, Other):
        def method(self):
            return super().method() + 1

        @classmethod
        def of_class(cls):
            return super().of_class() + 1

        @property
        def value(self):
            return super().value + 1

    class Last(Below):
        gain = 3.0

        def method(self):
            return super().method() * super().gain

        @property
        def value(self):
            return super().value * super().gain

    return Base, Middle, Other, Last


CALLS = {
    "method": (lambda x: x.method(), lambda n: lambda self: 5.0 + n),
    "of_class": (lambda x: x.of_class(), lambda n: classmethod(lambda cls: 5.0 + n)),
    "value": (lambda x: x.value, lambda n: property(lambda self: 5.0 + n)),
}


def found_by_super(name, which):
    def build():
        classes = family()
        read, changed = CALLS[name]
        instance = classes[-1]()
        return reading(lambda: read(instance), lambda n: setattr(classes[which], name, changed(n)))

    return build


for name in CALLS:
    for which, place in enumerate(("base", "middle", "sibling")):
        add(f"looked_up/super-{name}-{place}", found_by_super(name, which))


@scenario()
def super_attribute():
    (_, middle, _, last) = family()
    instance = last()
    return reading(lambda: instance.method(), lambda n: setattr(middle, "gain", 7.0 + n))


@scenario()
def super_forward(patch):
    class Doubled(nn.Tanh):
        def forward(self, x):
            return super().forward(x) * 2

    model = network(Doubled())
    step = classifies(model, optim.SGD(model.parameters(), lr=0.1))
    return Case(step, lambda n: patch(nn.Tanh, "forward", lambda self, x: x * n), model, inputs=labelled)


# --- the caller's gradients

GIVEN = {
    "scaled": lambda two, n: setattr(two.a, "grad", two.a.grad * 2.0),
    "cloned_and_written": lambda two, n: (setattr(two.a, "grad", two.a.grad.clone()), two.a.grad.zero_()),
    "written": lambda two, n: two.a.grad.mul_(2.0),
    "dropped": lambda two, n: setattr(two.a, "grad", None),
    "set": lambda two, n: setattr(two.b, "grad", rv.full(two.b.shape, float(n))),
}


def updated_separately(change, kind):
    """Backward and update are compiled separately; the caller changes gradients in between."""

    def build(compile_step):
        two = Two(kind)
        backward = compile_step(lambda x: two.loss(x).backward())
        update = compile_step(two.optimizer.step)
        due = []

        def step(x):
            two.optimizer.zero_grad()
            backward(x)
            while due:
                change(two, due.pop())
            update()

        return Case(step, due.append, two.watch)

    return build


for name, change in GIVEN.items():
    for kind in (optim.SGD, optim.Adam):
        add(f"looked_up/updated_separately-{name}-{kind.__name__}", updated_separately(change, kind))


@scenario()
def clipped_separately(compile_step):
    two = Two(optim.SGD)
    clip = compile_step(lambda: nn.utils.clip_grad_norm_([two.a, two.b], 0.1))
    due = []

    def step(x):
        two.optimizer.zero_grad()
        two.loss(x).backward()
        if due:
            two.a.grad = two.a.grad * due.pop()
        norm = clip()
        two.optimizer.step()
        return norm

    return Case(step, lambda n: due.append(2.0 * n), two.watch)


# --- steps that must not be refused


class Ahead(optim.Optimizer):
    """An optimizer around another one, whose groups are a property."""

    def __init__(self, base):
        self.base, self.pull = base, 0.5
        self.slow = [p.detach().clone() for group in base.param_groups for p in group["params"]]

    @property
    def param_groups(self):
        return self.base.param_groups

    def zero_grad(self):
        self.base.zero_grad()

    def step(self):
        self.base.step()
        fast = [p for group in self.param_groups for p in group["params"]]
        with rv.no_grad():
            for a, p in zip(self.slow, fast, strict=True):
                a.add_((p - a) * self.pull)
                p.copy_(a)


@scenario()
def optimizer_around_another():
    two = Two(optim.SGD)
    ahead = Ahead(two.optimizer)

    return Case(descends(two.loss, ahead), lambda n: setattr(ahead, "pull", 0.1 * n), [two.watch, ahead.slow])


@dataclasses.dataclass
class Settings:
    gain: float = 1.0
    more: list = dataclasses.field(default_factory=lambda: [1.0, 2.0])


def settings_read(read):
    def build():
        settings = Settings()

        def change(n):
            settings.gain = 1.0 + n
            settings.more.append(n)

        return reading(lambda: read(settings), change)

    return build


def copied(settings):
    mine = copy.deepcopy(settings)
    return mine.gain + sum(mine.more)


def entered(settings):
    with contextlib.ExitStack() as stack:
        return stack.enter_context(contextlib.nullcontext(settings.gain))


add("looked_up/asdict", settings_read(lambda s: dataclasses.asdict(s)["gain"]))
add("looked_up/astuple", settings_read(lambda s: dataclasses.astuple(s)[0]))
add("looked_up/deepcopy", settings_read(copied))
add("looked_up/exit_stack", settings_read(entered))
add("looked_up/seconds", settings_read(lambda s: datetime.timedelta(seconds=s.gain).total_seconds()))
add("looked_up/repr", settings_read(lambda s: float(len(repr(s)))))

# --- what NumPy's and the library's own objects hold


@scenario()
def polynomial():
    curve = np.poly1d([1.0, 2.0])
    return reading(lambda: float(curve(2.0)), lambda n: curve.coeffs.__setitem__(0, 1.0 + n))


@scenario()
def states_of_an_optimizer():
    other = optim.SGD([nn.Parameter(rv.ones(1))], lr=0.1)
    return reading(lambda: 1.0 + len(other.state), lambda n: other.state.update({n: {}}))


@scenario("either")
def seed_in_force(patch):
    patch.after(lambda: rv.manual_seed(7))
    return reading(lambda: 1.0 + rv.initial_seed(), lambda n: rv.manual_seed(10 + n))
