"""State of the library that changes, compiled methods, compiled steps within compiled steps, and in turn."""

import threading
import types

import ranvier as rv
from compile.staleness.judge import Case, add, labelled, scenario
from compile.staleness.rows import compiled_steps, table
from compile.staleness.small import Small, classifies, network
from ranvier import _core, nn, optim

LEVELS = _core.supported_isas()


def eager_work(n):
    w = nn.Parameter(rv.ones(3))
    (w * 2).sum().backward()


def another_program(n):
    other = rv.compile(lambda x: x * 2.0)
    for _ in range(4):
        other(rv.ones(2))


STATES = {  # with whether the change has no effect
    "threads": (lambda n: rv.set_num_threads((1, 2, 1, 2)[n]), True),
    "seed": (lambda n: rv.manual_seed(n), False),
    "random_state_restored": (lambda n: rv.set_rng_state(rv.get_rng_state()), True),
    "numbers_drawn_outside": (lambda n: rv.randn(n), False),
    "cache_emptied": (lambda n: rv.empty_cache(), True),
    "eager_work": (eager_work, True),
    "another_program": (another_program, True),
    "winograd": (lambda n: rv.set_winograd(n % 2 == 0), True),
    "flush_denormal": (lambda n: rv.set_flush_denormal(n % 2 == 1), True),
}


def state(change):
    def build():
        model = network(nn.Dropout(0.3))
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
        return Case(classifies(model, optimizer), change, [model, optimizer], labelled)

    return build


for name, (change, neutral) in STATES.items():
    add(f"library/{name}", state(change), neutral)


# the caller switches gradients off and on between calls
def by_context(enabled, fast, x):
    with rv.set_grad_enabled(enabled):
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


def under(switch):
    def build(compile_step):
        small, mode = Small(), {"grad": True}

        @compile_step
        def fast(x):
            y = x * small.w
            loss = (y * y).sum()
            if loss.requires_grad:
                small.w.grad = None
                loss.backward()
                return loss * 2.0
            return loss

        call = lambda x: switch(mode["grad"], fast, x)  # noqa: E731
        return Case(call, lambda n: mode.update(grad=n % 2 == 0), small.watch)

    return build


for switch in (by_context, by_function, by_decorator):
    add(f"library/gradients_off_{switch.__name__}", under(switch))


def of_net(use):
    """A module with a compiled method `score`, or a compiled forward."""

    def build(compile_step):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer, self.factor = nn.Linear(3, 3), 1.0

            def forward(self, x):
                return self.layer(x) * self.factor

            @compile_step
            def score(self, x):
                return self.forward(x).sum()

        net = Net()
        return Case(use(net, compile_step), lambda n: setattr(net, "factor", 1.0 + n), net)

    return build


add("library/decorated_method_of_a_module", of_net(lambda net, compile_step: lambda x: net.score(x)))
add("library/decorated_method_without_a_tape", of_net(lambda net, compile_step: rv.no_grad()(net.score)))
add("library/forward_compiled", of_net(lambda net, compile_step: compile_step(net.eval())))


@scenario()
def compiled_model_in_training_and_in_predictions(compile_step):
    model = network(nn.Dropout(0.4))
    fast = compile_step(model)
    step = compile_step(classifies(model, optim.SGD(model.parameters(), lr=0.1)))

    def call(x, y):
        model.train()
        loss = step(x, y)
        model.eval()
        return loss, fast(x)

    return Case(call, lambda n: setattr(model[2], "p", 0.1 * n), model, labelled)


@scenario()
def recursive_step(compile_step):
    small, state = Small(), types.SimpleNamespace(depth=1)

    @compile_step
    def step(x, depth=None):
        depth = state.depth if depth is None else depth
        return small.train(x, 1.5) if depth == 0 else step(x * 0.5, depth - 1)

    return Case(step, lambda n: setattr(state, "depth", 1 + n), small.watch)


def threads_at_once(make):
    """Four threads call a compiled step with different inputs; its results depend on nothing else."""

    def build(compile_step):
        model, state = network(seed=3).eval(), types.SimpleNamespace(factor=1.0)
        fast = compile_step(make(model, state))

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


add("in/threads_of_a_step", threads_at_once(lambda m, s: lambda x: m(x).detach() * s.factor))
add("in/threads_without_a_tape", threads_at_once(lambda m, s: rv.no_grad()(lambda x: m(x) * s.factor)))

# --- compiled methods and steps, also within each other: made | what the caller calls | change | inputs
SCALES = "small.f = v; fast = compile_step(lambda x: small.train(x, small.f))"
INNER = (
    "small.f = v; inner = compile_step(lambda x: x * small.f); "
    "s = compile_step(lambda x: small.train(inner(x), 1.5))"
)
TRAINS = "optim.SGD(o.parameters(), lr=0.1)"
STEPS = table(
    r"""
decorated_method | o = learner_of(compile_step)() | o.step(x) | o.factor = new
decorated_method_of_two_instances | kind = learner_of(compile_step); o = [kind(1), kind(2)]
  | [one.step(x) for one in o] | o[n % 2].factor += 1.0
decorated_method_of_a_replaced_instance | kind = learner_of(compile_step);
    o = kind() | o.step(x) | o = kind(1 + n)
decorated_method_of_a_subclass
  | kind = learner_of(compile_step); other = type('Other', (kind,), {'factor': 2.0}); o = [kind(), other()]
  | [one.step(x) for one in o] | other.factor = new
method_compiled_in_the_constructor | Constructed(compile_step) | o.step(x) | o.factor = new
decorated_static_method
  | <SCALES>; o = type('Learner', (), {'step': staticmethod(fast)}) | o.step(x) | small.f = new
decorated_class_method | fast = compile_step(lambda cls, x: small.train(x, cls.factor));
    o = type('Learner', (), {'factor': v, 'step': classmethod(fast)}) | o.step(x) | o.factor = new
compiled_alone_and_within | <INNER> | inner(x), s(inner(x)), inner(x) | small.f = new
compiled_within_compiled | <INNER> | s(inner(x)) | small.f = new
eager_between | <INNER> | s(x), small.train(x, small.f) | small.f = new
two_programs_of_one_function | small.f = v; s = lambda x: small.train(x, small.f);
    a, b = compile_step(s), compile_step(s) | a(x), b(x) | small.f = new
compiled_partial | fast = compile_step(functools.partial(lambda f, x: small.train(x, f), 1.5)) | fast(x)
  | small.optimizer.param_groups[0].update(lr=0.1 * n)
compiled_object_with_call | o = Steps(); fast = compile_step(o) | fast(x) | o.factor = new
called_from_several_threads_in_turn | <SCALES> | in_a_thread(fast, x) | small.f = new
changed_by_another_thread | <SCALES> | fast(x) | in_a_thread(setattr, small, 'f', new)
gradients_of_two_steps | o = nn.Parameter(rv.ones(3)); k = [v];
    a = compile_step(lambda x: gradient(o, (x * o * k[0]).sum()));
    b = compile_step(lambda x: (x * o * o).sum().backward()) | a(x), b(x) | k[0] = new
eager_and_compiled_steps_in_turn | small.f = v; s = lambda x: small.train(x, small.f); fast = compile_step(s);
    calls = itertools.cycle([fast, fast, s]) | next(calls)(x) | small.f = new
new_closures_over_the_same_step | itertools.count()
  | f = float(next(o)); s = compile_step(lambda x: small.train(x, 1.0 + f)); return [s(x) for _ in range(3)]
decorated_without_gradients | small.f = v; a = rv.no_grad()(compile_step(lambda x: x * small.w * small.f));
    b = compile_step(rv.no_grad()(lambda x: x * small.w * small.f))
  | a(x), b(x), small.train(x, 1.0) | small.f = new
compiled_model_within_a_step | o = network(nn.Dropout(0.4));
    s = compile_step(classifies(compile_step(o), <TRAINS>))
  | =lambda x, y: s(x, y) | o.train(n % 2 == 0) | labelled(n)
compiled_model_in_training_mode | o = network(nn.BatchNorm1d(4)); s = classifies(compile_step(o), <TRAINS>)
  | =lambda x, y: s(x, y) | o[2].eps = 0.1 * n | labelled(n)
""",
    SCALES=SCALES,
    INNER=INNER,
    TRAINS=TRAINS,
)
for name, texts in STEPS.items():
    add(f"library/{name}", compiled_steps(*texts))
