"""Gradients carried over calls, schedules, averages, updates by hand."""

import numpy as np
import ranvier as rv
from program.staleness.judge import Case, add, default_inputs, scenario
from program.staleness.optimizers_changed import Two
from program.staleness.small import descends, squares
from ranvier import nn, optim
from ranvier.optim import lr_scheduler, swa_utils


def carried(change, drops=False):
    """Gradients that are added up over calls, or that the step drops at its end; the caller changes them."""

    def build():
        two = Two(optim.SGD, momentum=0.9)

        def step(x):
            loss = two.loss(x)
            loss.backward()
            two.optimizer.step()
            if drops:
                two.optimizer.zero_grad()
            return loss

        return Case(step, lambda n: change(two, n), two.watch)

    return build


ZEROS = {
    "zero_grad": lambda t, n: t.optimizer.zero_grad(),
    "zero_grad_to_zeros": lambda t, n: t.optimizer.zero_grad(set_to_none=False),
    "grad_deleted": lambda t, n: setattr(t.a, "grad", None),
    "grad_replaced": lambda t, n: setattr(t.a, "grad", rv.full((3,), float(n))),
    "grad_written": lambda t, n: t.a.grad.zero_(),
    "grad_scaled": lambda t, n: setattr(t.a, "grad", t.a.grad * 0.5),
    "grad_clipped": lambda t, n: nn.utils.clip_grad_norm_([t.a, t.b], 0.1),
    "grad_swapped": lambda t, n: setattr(t.a, "grad", rv.from_numpy(np.ones(3, np.float32) * n)),
    "backward_outside": lambda t, n: (t.a * 2).sum().backward(),
}
for name, zero in ZEROS.items():
    add(f"optimizers/carried-{name}", carried(zero))


GIVEN = {
    "grad_set": lambda t, n: setattr(t.a, "grad", rv.full((3,), float(n))),
    "backward_outside": lambda t, n: (t.a * 2).sum().backward(),
    "all_set": lambda t, n: [setattr(p, "grad", rv.ones(*p.shape)) for p in (t.a, t.b)],
}
for name, change in GIVEN.items():
    add(f"optimizers/dropped_after-{name}", carried(change, drops=True))


def gradients_from_outside(change):
    """The step only uses gradients that it does not compute: those of a frozen parameter, or the caller's."""

    def build():
        two = Two(optim.SGD, momentum=0.9)
        two.a.grad = rv.ones(3)
        two.a.requires_grad_(False)

        def step(x):
            two.b.grad = None
            loss = (x @ two.b.T).tanh().sum()
            loss.backward()
            two.optimizer.step()
            return loss

        return Case(step, lambda n: change(two, n), two.watch)

    return build


for name, zero in ZEROS.items():
    if name != "backward_outside":
        add(f"optimizers/from_outside-{name}", gradients_from_outside(zero))


@scenario("either")
def step_with_the_callers_gradients():
    """The compiled function updates only; the caller computes the gradients."""
    two = Two(optim.Adam)

    def inputs(n):
        rng = np.random.default_rng(n)
        two.a.grad = rv.tensor(rng.standard_normal(3).astype(np.float32))
        two.b.grad = None if n in (5, 6) else rv.tensor(rng.standard_normal((2, 3)).astype(np.float32))
        return ()

    return Case(lambda: two.optimizer.step(), None, two.watch, inputs)


SCHEDULES = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, 1, 0.5),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [1, 2], 0.5),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.5),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 10),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda e: 1 / (e + 1)),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda e: 0.5),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 10),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 2),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, 20),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2),
}


def scheduled(make, kind):
    def build():
        two = Two(kind, momentum=0.9) if kind is optim.SGD else Two(kind)
        schedule = make(two.optimizer)
        return Case(two.step, lambda n: schedule.step(), two.watch)

    return build


for name, make in SCHEDULES.items():
    for kind in (optim.SGD, optim.Adam):
        if kind is optim.Adam and name not in ("OneCycleLR", "CyclicLR", "StepLR"):
            continue
        add(f"optimizers/schedule-{name}-{kind.__name__}", scheduled(make, kind))


@scenario("either")
def schedule_inside_the_step():
    two = Two()
    schedule = lr_scheduler.ExponentialLR(two.optimizer, 0.5)

    def step(x):
        loss = two.step(x)
        schedule.step()
        return loss

    return Case(step, None, two.watch)


@scenario("either")
def lr_set_inside_the_step():
    two, state = Two(), {"lr": 0.1}

    def step(x):
        for group in two.optimizer.param_groups:
            group["lr"] = state["lr"]
        return two.step(x)

    return Case(step, lambda n: state.update(lr=0.1 + n * 0.1), two.watch)


@scenario()
def plateau_by_the_loss():
    two = Two()
    schedule = lr_scheduler.ReduceLROnPlateau(two.optimizer, patience=0)
    return Case(two.step, None, two.watch, each=lambda n, loss: schedule.step(float(n)))


@scenario()
def averaged_model_updated_between_calls():
    model = nn.Linear(3, 3)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    averaged = swa_utils.AveragedModel(model)
    step = descends(squares(model), optimizer)
    return Case(step, None, [model, averaged], each=lambda n, loss: averaged.update_parameters(model))


@scenario("either")
def averaged_model_updated_in_the_step():
    model = nn.Linear(3, 3)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    averaged = swa_utils.AveragedModel(model)

    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        averaged.update_parameters(model)
        return loss

    return Case(step, None, [model, averaged])


@scenario("either")
def lbfgs():
    model = nn.Linear(3, 3)
    optimizer = optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)

    def step(x):
        def closure():
            optimizer.zero_grad()
            loss = squares(model)(x)
            loss.backward()
            return loss

        return optimizer.step(closure)

    return Case(step, lambda n: optimizer.param_groups[0].update(lr=0.1 * n), [model])


@scenario()
def two_optimizers():
    two, other = Two(), nn.Parameter(rv.ones(3))
    second = optim.SGD([other], lr=0.1)

    def step(x):
        second.zero_grad()
        loss = two.step(x)
        (x * other).sum().backward()
        second.step()
        return loss

    return Case(step, lambda n: second.param_groups[0].update(momentum=0.3 * n), [*two.watch, other, second])


@scenario()
def clipping_limit_changed():
    model, state = nn.Linear(3, 3), {"limit": 0.1}
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    step = descends(
        squares(model), optimizer, lambda: nn.utils.clip_grad_norm_(model.parameters(), state["limit"])
    )
    return Case(step, lambda n: state.update(limit=0.1 + n), [model])


@scenario()
def clipping_list_changed():
    model = nn.Linear(3, 3)
    optimizer, clipped = optim.SGD(model.parameters(), lr=0.1), [model.weight]

    step = descends(squares(model), optimizer, lambda: nn.utils.clip_grad_value_(clipped, 0.01))
    return Case(step, lambda n: clipped.append(model.bias) if n == 1 else clipped.pop(), [model])


@scenario()
def manual_update_with_a_rate():
    w, state = nn.Parameter(rv.ones(3)), {"lr": 0.1}

    def step(x):
        w.grad = None
        loss = (x * w).sum() ** 2
        loss.backward()
        with rv.no_grad():
            w.sub_(w.grad * state["lr"])
        return loss

    return Case(step, lambda n: state.update(lr=0.1 / n), [w])


@scenario()
def accumulation_with_doubled_gradients():
    w = nn.Parameter(rv.ones(3))

    def step(x):
        loss = (x * w).sum()
        loss.backward()
        w.grad = w.grad * 2
        return loss

    return Case(step, None, [w])


@scenario()
def update_every_second_call_by_an_argument():
    two = Two(optim.SGD, momentum=0.5)

    def step(x, updates):
        loss = two.loss(x)
        loss.backward()
        if updates:
            two.optimizer.step()
            two.optimizer.zero_grad()
        return loss

    return Case(step, None, two.watch, lambda n: (*default_inputs(n), n % 2 == 0))


@scenario("either")
def update_every_second_call_by_a_counter():
    two, state = Two(optim.SGD, momentum=0.5), {"calls": 0}

    def step(x):
        state["calls"] += 1
        loss = two.loss(x)
        loss.backward()
        if state["calls"] % 2 == 0:
            two.optimizer.step()
            two.optimizer.zero_grad()
        return loss

    return Case(step, None, [*two.watch, state])
