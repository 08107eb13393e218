"""PyTorch's own table of optimizers, and its schedules at random settings, as the judge of those here."""

import copy
import random

import numpy as np
import pytest
import ranvier as rv
from optim.problem import Power

torch = pytest.importorskip("torch", reason="torch is not installed")
common = pytest.importorskip("torch.testing._internal.common_optimizers")

STEPS = 10
EXCLUDED = {  # errors: PyTorch's message, and why it is none here
    "duplicate parameters": "PyTorch warns; here it is an error",
    "not supported for capturable=False and foreach=True": "foreach has no effect: numbers may be Tensors",
    "betas must be either both floats or both Tensors": "the same",
}
INFOS = {info.optim_cls.__name__: info for info in common.optim_db}
HERE = [name for name in INFOS if hasattr(rv.optim, name)]
SETTINGS = [(name, i) for name in HERE for i in range(len(INFOS[name].optim_inputs_func(device="cpu")))]


@pytest.fixture(autouse=True)
def doubles():
    """Some scalars of states have the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    rv.set_default_dtype(rv.float64)
    yield
    torch.set_default_dtype(before)
    rv.set_default_dtype(rv.float32)


def moved(x, library, known):
    """Arguments with PyTorch's tensors in the other library, the same ones for the same."""
    if isinstance(x, torch.Tensor) and library is rv:
        made = rv.tensor(x.detach().numpy(), requires_grad=x.requires_grad)
        return known.setdefault(id(x), made)
    if isinstance(x, dict):
        return {k: moved(v, library, known) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(moved(v, library, known) for v in x)
    return x


def path(library, name, settings, dtype):
    """The parameters of a small network after each step."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(dtype) for shape in ((5, 4), (4,), (4, 2), (2,), ())]
    parameters = [library.tensor(a, requires_grad=True) for a in arrays]
    x, target = (library.tensor(rng.normal(size=s).astype(dtype)) for s in ((8, 5), (8, 2)))
    fixed = parameters[2].detach().clone()
    optimizer = getattr(library.optim, name)(parameters, **moved(settings, library, {}))

    def closure():
        optimizer.zero_grad()
        w1, b1, w2, b2, scale = parameters
        if name == "LBFGS":  # 20 iterations a step: a sum of squares, on which rounding errors do not grow
            loss = ((x @ w1 @ fixed + b2 - target) ** 2).mean() + (w1**2).mean() + (b1**2).mean()
        else:
            loss = ((((x @ w1 + b1).tanh() @ w2 + b2) * scale - target) ** 2).mean()
        loss.backward()
        return loss

    found = []
    for _ in range(STEPS):
        optimizer.step(closure)
        found.append(np.concatenate([p.detach().numpy().reshape(-1) for p in parameters]))
    return np.array(found, np.float64)


@pytest.mark.parametrize(("name", "index"), SETTINGS)
def test_settings(name, index):
    settings = INFOS[name].optim_inputs_func(device="cpu")[index].kwargs
    exact = path(torch, name, settings, "float64")
    np.testing.assert_allclose(path(rv, name, settings, "float64"), exact, rtol=1e-10, atol=1e-12)
    # in float32 as close to that as PyTorch is, up to the order of the operations
    errors = [np.abs(path(library, name, settings, "float32") - exact) for library in (rv, torch)]
    assert errors[0].max() <= 4 * errors[1].max() + 4 * np.finfo("float32").eps * np.abs(exact).max()


@pytest.mark.parametrize("name", HERE)
def test_errors(name):
    for case in INFOS[name].optim_error_inputs_func(device="cpu", dtype=torch.float64):
        if any(part in case.error_regex for part in EXCLUDED):
            continue
        given = case.optimizer_error_input
        params = [torch.ones(2, requires_grad=True)] if given.params is None else given.params
        known = {}
        params, settings = moved(params, rv, known), moved(given.kwargs, rv, known)
        with pytest.raises(case.error_type):
            getattr(rv.optim, name)(params, **settings)


def test_how_much_of_the_table_is_here(capsys):
    missing = sorted(set(INFOS) - set(HERE))
    with capsys.disabled():
        print(f"\noptimizers: {len(HERE)} of {len(INFOS)} are here, not {', '.join(missing)}; ", end="")
        print(f"{len(SETTINGS)} settings in two dtypes; errors that are none here:")
        for part, why in EXCLUDED.items():
            cases = [c for n in HERE for c in INFOS[n].optim_error_inputs_func("cpu", torch.float64)]
            print(f"  {sum(part in c.error_regex for c in cases)} of {len(cases)}: {part!r}: {why}")
    assert missing == ["Adafactor", "Muon", "SparseAdam"]


# --- schedules: each line draws the settings of one
def part(s, o, r):
    """A schedule as a part of others."""
    kind = r.choice(["ConstantLR", "LinearLR", "ExponentialLR", "StepLR", "CosineAnnealingLR"])
    return SCHEDULES[kind](s, o, r)


def parts(s, o, r):
    return [part(s, o, r) for _ in range(3)]


SCHEDULES = {
    "LambdaLR": lambda s, o, r: s.LambdaLR(o, [Power(r.random()), lambda e: 1 / (e + 1)]),
    "MultiplicativeLR": lambda s, o, r: s.MultiplicativeLR(o, Power(r.uniform(0.999, 1.001))),
    "StepLR": lambda s, o, r: s.StepLR(o, r.randint(1, 50), r.uniform(0.1, 1.2)),
    "MultiStepLR": lambda s, o, r: s.MultiStepLR(o, r.choices(range(200), k=6), r.uniform(0.1, 1.2)),
    "ConstantLR": lambda s, o, r: s.ConstantLR(o, r.random(), r.randint(0, 250)),
    "LinearLR": lambda s, o, r: s.LinearLR(o, r.uniform(0.01, 1), r.random(), r.randint(1, 250)),
    "ExponentialLR": lambda s, o, r: s.ExponentialLR(o, r.uniform(0.8, 1.1)),
    "CosineAnnealingLR": lambda s, o, r: s.CosineAnnealingLR(o, r.randint(1, 250), r.uniform(0, 0.05)),
    "CosineAnnealingWarmRestarts": lambda s, o, r: s.CosineAnnealingWarmRestarts(
        o, r.randint(1, 40), r.randint(1, 3), r.uniform(0, 0.05)
    ),
    "OneCycleLR": lambda s, o, r: s.OneCycleLR(
        o,
        [r.random(), r.random()],
        total_steps=r.randint(201, 400),
        pct_start=r.random(),
        anneal_strategy=r.choice(["cos", "linear"]),
        cycle_momentum=r.random() < 0.7,
        div_factor=r.uniform(1, 50),
        final_div_factor=r.uniform(1, 1e4),
        three_phase=r.random() < 0.5,
    ),
    "CyclicLR": lambda s, o, r: s.CyclicLR(
        o,
        r.uniform(0, 0.1),
        [r.uniform(0.2, 1), 0.5],
        r.randint(1, 60),
        r.choice([None, r.randint(1, 60)]),
        r.choice(["triangular", "triangular2", "exp_range"]),
        r.uniform(0.9, 1),
        cycle_momentum=r.random() < 0.7,
    ),
    "ReduceLROnPlateau": lambda s, o, r: s.ReduceLROnPlateau(
        o,
        r.choice(["min", "max"]),
        r.uniform(0.1, 0.9),
        r.randint(0, 9),
        r.uniform(0, 0.1),
        r.choice(["rel", "abs"]),
        r.randint(0, 9),
        [0.0, r.uniform(0, 0.05)],
        r.choice([1e-8, 1e-3]),
    ),
    "PolynomialLR": lambda s, o, r: s.PolynomialLR(o, r.randint(1, 250), r.uniform(0.2, 3)),
    "ChainedScheduler": lambda s, o, r: s.ChainedScheduler(parts(s, o, r)),
    "SequentialLR": lambda s, o, r: s.SequentialLR(o, parts(s, o, r), sorted(r.sample(range(1, 200), 2))),
}


def rates(library, name, seed):
    """Learning rates and momenta of 200 steps; halfway, all is saved and goes on in new objects."""
    s, found = library.optim.lr_scheduler, []

    def begin():
        draw = random.Random(f"{name} {seed}")
        first, second = (library.tensor(np.ones(1), requires_grad=True) for _ in range(2))
        optimizer = library.optim.SGD(
            [{"params": [first]}, {"params": [second], "lr": 0.03}], lr=0.1, momentum=0.8
        )
        return optimizer, SCHEDULES[name](s, optimizer, draw)

    optimizer, schedule = begin()
    losses = np.random.default_rng(seed).normal(size=200).cumsum().tolist()
    for step, loss in enumerate(losses):
        if step == 100:
            saved = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
            optimizer, schedule = begin()
            optimizer.load_state_dict(saved[0])
            schedule.load_state_dict(saved[1])
        if min(group["lr"] for group in optimizer.param_groups) >= 0:  # chained cosines; refused here
            optimizer.step()
        schedule.step(*([loss] if name == "ReduceLROnPlateau" else []))
        groups = optimizer.param_groups
        found.append([g["lr"] for g in groups] + [g["momentum"] for g in groups] + schedule.get_last_lr())
    return np.array(found)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name, seed):
    np.testing.assert_allclose(rates(rv, name, seed), rates(torch, name, seed), rtol=1e-12, atol=1e-15)


def test_every_schedule_has_a_line():
    kinds = {n for n, v in vars(torch.optim.lr_scheduler).items() if isinstance(v, type) and n[0] != "_"}
    kinds = {
        n
        for n in kinds
        if issubclass(getattr(torch.optim.lr_scheduler, n), torch.optim.lr_scheduler.LRScheduler)
    }
    assert kinds - {"LRScheduler"} == set(SCHEDULES)
