"""State of the library that changes between two calls."""

import ranvier as rv
from program.staleness.judge import Case, add, labelled, scenario
from program.staleness.small import Small, classifies, network, reading
from ranvier import _core, nn, optim

LEVELS = _core.supported_isas()


def state(change):
    def build():
        model = network(nn.Dropout(0.3))
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
        step = classifies(model, optimizer)
        return Case(step, change, [model, optimizer], labelled)

    return build


def eager_work(n):
    w = nn.Parameter(rv.ones(3))
    (w * 2).sum().backward()


def another_program(n):
    other = rv.compile(lambda x: x * 2.0)
    for _ in range(4):
        other(rv.ones(2))


STATES = {
    "threads": (lambda n: rv.set_num_threads((1, 2, 1, 2)[n]), True),
    "isa": (lambda n: _core.set_isa(LEVELS[n % len(LEVELS)]), None),
    "seed": (lambda n: rv.manual_seed(n), False),
    "random_state_restored": (lambda n: rv.set_rng_state(rv.get_rng_state()), True),
    "numbers_drawn_outside": (lambda n: rv.randn(n), False),
    "cache_emptied": (lambda n: rv.empty_cache(), True),
    "eager_work": (eager_work, True),
    "another_program": (another_program, True),
    "winograd": (lambda n: rv.set_winograd(n % 2 == 0), True),
    "flush_denormal": (lambda n: rv.set_flush_denormal(n % 2 == 1), True),
}
for name, (change, neutral) in STATES.items():
    if neutral is not None:
        add(f"library/{name}", state(change), neutral=neutral)


def under(switch):
    """The caller switches gradients off and on between calls."""

    def build(compile_step):
        small, mode = Small(), {"grad": True}

        def step(x):
            y = x * small.w
            loss = (y * y).sum()
            if loss.requires_grad:
                small.w.grad = None
                loss.backward()
                return loss * 2.0
            return loss

        fast = compile_step(step)

        def call(x):
            return switch(mode["grad"], fast, x)

        return Case(call, lambda n: mode.update(grad=n % 2 == 0), small.watch)

    return build


def by_context(enabled, fast, x):
    if enabled:
        return fast(x)
    with rv.no_grad():
        return fast(x)


def by_function(enabled, fast, x):
    before = rv.is_grad_enabled()
    rv.set_grad_enabled(enabled)
    try:
        return fast(x)
    finally:
        rv.set_grad_enabled(before)


def by_decorator(enabled, fast, x):
    return fast(x) if enabled else rv.no_grad()(fast)(x)


for switch in (by_context, by_function, by_decorator):
    add(f"library/gradients_off_{switch.__name__}", under(switch))


@scenario("either")
def state_of_the_library_read():
    return reading(lambda: float(rv.get_num_threads()), lambda n: rv.set_num_threads(1 + n % 2))


@scenario("either")
def winograd_read():
    return reading(lambda: 2.0 if rv.get_winograd() else 1.0, lambda n: rv.set_winograd(n % 2 == 0))


@scenario("either")
def grad_mode_set_inside():
    small, mode = Small(), {"grad": False}

    def step(x):
        with rv.set_grad_enabled(mode["grad"]):
            penalty = (small.w * small.w).sum()
        y = x * small.w
        small.w.grad = None
        loss = y.sum() + penalty
        loss.backward()
        return loss

    return Case(step, lambda n: mode.update(grad=n % 2 == 1), small.watch)
