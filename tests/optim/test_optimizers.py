"""Optimizers: groups, state dicts, wrong settings; parameters are updated in their memory. KINDS has every
rule; paths of steps: test_every_rule.py."""

import copy
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import optim
from support.optimizers import KINDS
from support.refused import refused


def parameter(*values):
    return rv.tensor(np.array(values, np.float32), requires_grad=True)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_parameters_stay_where_they_are(kind):
    p, alias = parameter(1, 2), None
    optimizer = kind([p], lr=0.1)
    array = p._array
    alias = p.detach()
    for _ in range(2):
        p.grad = rv.tensor([1.0, -1.0])
        version = p._version
        optimizer.step()
        assert p._version > version
    assert p._array is array
    np.testing.assert_array_equal(alias.numpy(), p.detach().numpy())


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_without_gradient_nothing_happens(kind):
    p, q = parameter(1, 2), parameter(3)
    optimizer = kind([p, q], lr=0.1)
    p.grad = rv.tensor([1.0, 1.0])
    optimizer.step()
    assert q.item() == 3.0
    assert q not in optimizer.state or kind is optim.Adagrad  # whose sums begin at once
    q.grad = rv.tensor([1.0])
    optimizer.step()
    assert q.item() < 3.0


def test_groups_have_their_own_settings():
    p, q = parameter(1), parameter(1)
    optimizer = optim.SGD([{"params": [p]}, {"params": q, "lr": 0.5}], lr=0.1)
    for x in (p, q):
        x.grad = rv.tensor([1.0])
    optimizer.step()
    np.testing.assert_allclose([p.item(), q.item()], [0.9, 0.5], rtol=1e-6)
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    np.testing.assert_allclose([p.item(), q.item()], [0.9, 0.0], rtol=1e-6, atol=1e-7)
    optimizer.zero_grad()
    assert p.grad is None
    assert "lr: 0.5" in repr(optimizer)


def test_a_group_is_the_dict_that_was_given():
    """As in PyTorch: who holds it changes the optimizer's settings."""
    group = {"params": (p := parameter(1.0)), "foreach": False}
    optimizer = optim.SGD([group], lr=0.5)
    group["lr"] = 0.25
    p.grad = rv.ones(1)
    optimizer.step()
    assert (optimizer.param_groups[0] is group, p.tolist(), "foreach" in group) == (True, [0.75], False)


def test_state_dict_has_pytorchs_structure():
    p = parameter(1, 2)
    optimizer = optim.Adam([p])
    p.grad = rv.tensor([1.0, 1.0])
    optimizer.step()
    saved = optimizer.state_dict()
    assert set(saved) == {"state", "param_groups"}
    assert set(saved["state"][0]) == {"step", "exp_avg", "exp_avg_sq"}
    assert float(saved["state"][0]["step"]) == 1
    assert saved["param_groups"][0]["params"] == [0]
    other = optim.Adam([parameter(1), parameter(2)])
    refused(ValueError, "[adam] got groups of [1] parameters; expected [2]", other.load_state_dict, saved)


def test_what_only_concerns_pytorchs_own_step_is_ignored():
    p = parameter(1)
    optimizer = optim.AdamW([{"params": p, "fused": True}], foreach=False, capturable=True)
    assert not {"fused", "foreach", "capturable"} & set(optimizer.param_groups[0])


def test_states_and_names_of_groups_are_pytorchs():
    assert set(trained("Rprop").state_dict()["state"][0]) == {"step", "prev", "step_size"}
    assert set(trained("ASGD").state_dict()["state"][0]) == {"step", "eta", "mu", "ax"}
    optimizer = optim.SGD([("weight", parameter(1)), ("bias", parameter(2))])
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    refused(ValueError, "of all or of none", optimizer.add_param_group, {"params": [parameter(3)]})


def test_adamw_stays_decoupled_with_a_state_of_adam():
    optimizer = optim.AdamW([parameter(1)])
    optimizer.load_state_dict(optim.Adam([parameter(1)]).state_dict())
    assert optimizer.param_groups[0]["decoupled_weight_decay"]
    for key in ("decoupled_weight_decay", "maximize"):  # as a whole optimizer of an older PyTorch
        del optimizer.param_groups[0][key]
    (again,) = pickle.loads(pickle.dumps(optimizer)).param_groups
    assert (again["decoupled_weight_decay"], again["maximize"]) == (True, False)


def trained(name, **settings):
    p = rv.tensor([1.0, 2.0], requires_grad=True)
    optimizer = getattr(optim, name)([p], lr=0.1, **settings)
    (p * p).sum().backward()
    optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    ("name", "other", "settings"),
    [
        ("SGD", "Adam", {}),
        ("Adam", "SGD", {"momentum": 0.9}),
        ("Adam", "NAdam", {}),
        ("NAdam", "Adam", {}),
        ("Adagrad", "RMSprop", {}),
        ("Adadelta", "RMSprop", {}),
        ("RMSprop", "Adadelta", {}),
        ("AdamW", "RMSprop", {"momentum": 0.9, "centered": True}),
        ("Rprop", "ASGD", {}),
        ("ASGD", "Rprop", {}),
    ],
)
def test_the_state_of_another_optimizer_is_refused(name, other, settings):
    optimizer, saved = trained(name), trained(other, **settings).state_dict()
    before = copy.deepcopy(optimizer.state_dict())
    text = f"[{name.lower()}] got the state of another optimizer"
    refused(ValueError, text, optimizer.load_state_dict, saved)
    assert repr(optimizer.state_dict()) == repr(before)


@pytest.mark.parametrize(
    ("state", "error", "text"),
    [
        (None, TypeError, "got NoneType; expected a state dict"),
        (optim.Adam([parameter(1)]), TypeError, "its method state_dict gives one"),
        ({"weight": 1}, KeyError, "got a dict of 'weight'; expected 'state' and 'param_groups'"),
        ({"net": {}, "opt": {"state": {}, "param_groups": []}}, KeyError, "it is the entry 'opt'"),
        ({"state": {}, "param_groups": [{"params": []}] * 2}, ValueError, "a different number of"),
        ({"state": {0: {"step": 1, "exp_avg": np.ones(9), "exp_avg_sq": np.ones(9)}},
          "param_groups": [{"params": [0]}]}, ValueError, "exp_avg of shape (9,)"),
    ],
)  # fmt: skip
def test_what_is_no_state_of_an_optimizer_is_refused(state, error, text):
    optimizer = trained("Adam")
    before = copy.deepcopy(optimizer.state_dict())
    refused(error, text, optimizer.load_state_dict, state)
    assert repr(optimizer.state_dict()) == repr(before)
    if not isinstance(state, dict):
        text = "expected a state dict"
        refused(TypeError, text, optim.lr_scheduler.StepLR(optimizer, 1).load_state_dict, state)


@pytest.mark.parametrize(
    ("name", "other", "settings"),
    [
        ("AdamW", "Adam", {"amsgrad": True}),
        ("SGD", "SGD", {"momentum": 0.9}),
        ("RMSprop", "RMSprop", {"centered": True}),
        ("NAdam", "NAdam", {}),
        ("Rprop", "Rprop", {}),
        ("ASGD", "ASGD", {}),
    ],
)
def test_the_state_of_the_same_optimizer_is_taken(name, other, settings):
    optimizer, saved = trained(name), trained(other, **settings).state_dict()
    optimizer.load_state_dict(saved)
    assert set(optimizer.state_dict()["state"][0]) == set(saved["state"][0])


def test_an_optimizer_of_a_program_keeps_what_it_likes():
    class Slow(optim.SGD):
        pass

    p = rv.tensor([1.0], requires_grad=True)
    optimizer = Slow([p], lr=0.1)
    saved = {**optimizer.state_dict(), "state": {0: {"slow": np.array([2.0])}}}
    optimizer.load_state_dict(saved)
    assert optimizer.state[p]["slow"].tolist() == [2.0]


def test_momentum_of_a_state_dict_without_step_is_kept():
    """PyTorch's SGD saves no step count."""
    p = parameter(0)
    optimizer = optim.SGD([p], lr=1.0, momentum=0.5, dampening=0.5)
    saved = optimizer.state_dict()
    optimizer.load_state_dict({**saved, "state": {0: {"momentum_buffer": np.array([2.0])}}})
    p.grad = rv.tensor([1.0])
    optimizer.step()
    assert p.item() == -1.5


@pytest.mark.parametrize("kind", ["Adam", "RMSprop"])
def test_a_subclass_changes_the_settings_by_either_call_of_the_base(kind):
    base = getattr(rv.optim, kind)

    class Faster(base):
        def _settings(self, group):
            lr, *rest = base._settings(self, group)
            assert (lr, *rest) == super()._settings(group)
            return 2 * lr, *rest

    moved = []
    for make, lr in ((base, 0.5), (Faster, 0.25)):
        p = rv.ones(2, requires_grad=True)
        optimizer = make([p], lr=lr)
        (p * p).sum().backward()
        optimizer.step()
        moved.append(p.tolist())
    assert moved[0] == moved[1]


def test_wrong_arguments():
    p = parameter(1, 2)
    refused(ValueError, "[sgd] got lr -1.0; expected at least 0", optim.SGD, [p], lr=-1.0)
    refused(ValueError, "expected momentum above 0 and dampening 0", optim.SGD, [p], nesterov=True)
    refused(ValueError, "[adam] got betas (0.9, 1.0)", optim.Adam, [p], betas=(0.9, 1.0))
    refused(ValueError, "[adam] got eps -1", optim.Adam, None, eps=-1)  # settings come first
    refused(ValueError, "[adamw] got weight_decay -1", optim.AdamW, [p], weight_decay=-1)
    refused(ValueError, "[rmsprop] got eps nan", optim.RMSprop, [p], eps=float("nan"))
    refused(ValueError, "[adagrad] got lr_decay -1", optim.Adagrad, [p], lr_decay=-1)
    refused(ValueError, "[adadelta] got rho 1.5; expected 0 <= rho <= 1", optim.Adadelta, [p], rho=1.5)
    refused(ValueError, "[nadam] got momentum_decay -1", optim.NAdam, [p], momentum_decay=-1)
    refused(ValueError, "[rprop] got etas (1.0, 2.0); expected two", optim.Rprop, [p], etas=(1.0, 2.0))
    refused(ValueError, "[rprop] got step_sizes (2, 1)", optim.Rprop, [p], step_sizes=(2, 1))
    refused(TypeError, "[rprop] got an unknown setting", optim.Rprop, [p], weight_decay=0.1)
    refused(ValueError, "[asgd] got weight_decay -1", optim.ASGD, [p], weight_decay=-1)
    refused(ValueError, "expected one number", optim.Adam, [p], lr=rv.tensor([0.1, 0.2]))
    refused(ValueError, "[adam] got names of some parameters", optim.Adam, [("w", p), parameter(1)])
    refused(TypeError, "[radam] got an unknown setting 'rho'", optim.RAdam, [p], rho=1)
    refused(ValueError, "[adam] got an empty parameter list", optim.Adam, [])
    refused(TypeError, "[adam] got params of type Tensor", optim.Adam, p)
    refused(TypeError, "[adam] got a parameter of type float", optim.Adam, [1.0])
    refused(ValueError, "[adam] got a parameter twice", optim.Adam, [p, p])
    refused(ValueError, "expected leaf Tensors", optim.Adam, [p * 2])


def test_a_group_keeps_what_is_no_setting():
    optimizer = optim.Adam([{"params": [parameter(1, 2)], "label": "head"}])
    assert optimizer.param_groups[0]["label"] == optimizer.state_dict()["param_groups"][0]["label"] == "head"


def test_wrong_gradient():
    p = parameter(1, 2)
    optimizer = optim.Adam([p])
    p.data = rv.tensor([1.0])
    p.grad = rv.tensor([1.0])
    p.data = rv.tensor([1.0, 2.0])
    refused(ValueError, "[adam] got gradients[0] of shape (1,); expected the parameter's", optimizer.step)


def test_settings_and_states_stay_where_they_are():
    """A recorded step reads them there: a new lr, or a state from a file, is written in place."""
    p = rv.ones(3, requires_grad=True)
    optimizer = rv.optim.SGD([p], lr=0.1, momentum=0.9)
    p.sum().backward()
    optimizer.step()
    (plan,) = optimizer._plans.values()
    group, numbers, arrays = optimizer.param_groups[0], plan._numbers, dict(optimizer.state[p])
    saved = copy.deepcopy(optimizer.state_dict())
    group["lr"] = 0.25
    plan.refresh(optimizer, group)
    assert (plan._numbers is numbers, numbers[0]) == (True, 0.25)
    optimizer.step()
    optimizer.load_state_dict(saved)
    assert optimizer.state[p].keys() == arrays.keys()
    for name, array in optimizer.state[p].items():
        assert array is arrays[name]
        np.testing.assert_array_equal(array, saved["state"][0][name])
    group["lr"] = -1.0
    refused(ValueError, "[sgd] got lr", plan.refresh, optimizer, group)


@pytest.mark.parametrize(
    "forget",
    [
        lambda optimizer, p: optimizer.state.clear(),
        lambda optimizer, p: optimizer.state.pop(p),
        lambda optimizer, p: optimizer.state.update({p: {}}),
        lambda optimizer, p: [optimizer.state[p].pop(name) for name in list(optimizer.state[p])],
    ],
)
def test_a_state_that_was_dropped_begins_anew(forget):
    moved = []
    for drop in (True, False):
        p = rv.ones(3, requires_grad=True)
        optimizer = rv.optim.Adam([p], lr=0.1)
        for step in range(4):
            if step == 2 and drop:
                forget(optimizer, p)
            if step == 2 and not drop:
                optimizer = rv.optim.Adam([p], lr=0.1)
            optimizer.zero_grad()
            (p * rv.tensor([1.0, 2.0 + step, -1.0])).sum().backward()
            optimizer.step()
        moved.append(p.tolist())
        assert int(optimizer.state[p]["step"]) == 2
    assert moved[0] == moved[1]


def test_a_state_that_was_replaced_is_used():
    p = rv.ones(3, requires_grad=True)
    optimizer = rv.optim.SGD([p], lr=1.0, momentum=0.5)
    p.sum().backward()
    optimizer.step()
    (name,) = set(optimizer.state[p]) - {"step"}
    optimizer.state[p][name] = np.full(3, 8.0, np.float32)
    optimizer.step()
    assert p.tolist() == [1 - 1 - 5] * 3


def test_rprop_leaves_elements_without_a_gradient_in_their_place():
    """As PyTorch: the sign of NaN is 0."""
    p = rv.tensor([1.0, 1.0], requires_grad=True)
    optimizer = optim.Rprop([p], lr=0.1)
    for slopes in ([1.0, np.nan], [np.nan, 1.0], [1.0, 1.0], [1.0, 1.0]):
        p.grad = rv.tensor(slopes)
        optimizer.step()
    np.testing.assert_allclose(p.detach().numpy(), [0.68, 0.636], rtol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_parameters_that_share_memory_are_updated_one_after_the_other(compiled, threads):
    threads(2)
    memory = rv.linspace(-1, 1, 90_000)
    first, second = (rv.nn.Parameter(rv.zeros(60_000)) for _ in range(2))
    first.data, second.data = memory[:60_000], memory[30_000:]
    optimizer = rv.optim.SGD([first, second], lr=0.1, momentum=0.5)

    def step(factor):
        optimizer.zero_grad()
        (first * factor + second * second * factor).sum().backward()
        optimizer.step()

    expected = memory.numpy().astype(np.float64)
    momenta = np.zeros((2, 60_000))
    run = rv.compile(step) if compiled else step
    for i in range(12):
        factor = 0.1 + 0.01 * i
        run(rv.tensor(factor))
        momenta = 0.5 * momenta + np.stack([np.full(60_000, factor), 2 * factor * expected[30_000:]])
        expected[:60_000] -= 0.1 * momenta[0]
        expected[30_000:] -= 0.1 * momenta[1]
        # each of the two updates of an element rounds momentum and parameter once or twice
        np.testing.assert_allclose(memory.numpy(), expected, rtol=0, atol=8 * (i + 1) * np.finfo("f").eps)


@pytest.mark.parametrize("betas", [(0.9, 0.99, 0.999), (1.0, 2.0), 0.9, None])
def test_the_settings_of_others_optimizers_are_theirs(betas):
    class Own(optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": 0.1, "betas": betas})

    own = Own([rv.ones(1, requires_grad=True)])
    own.add_param_group({"params": [rv.ones(2, requires_grad=True)], "betas": (3, 4)})
    assert [group["betas"] for group in own.param_groups] == [betas, (3, 4)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("compiled", [False, True])
def test_states_begin_at_a_cache_line_with_zeros(dtype, compiled):
    weights = [rv.ones(shape, dtype=getattr(rv, dtype)).requires_grad_() for shape in ((), (7,), (5, 33))]
    optimizer = rv.optim.Adam(weights, lr=0.0, betas=(0.5, 0.5))

    def step():
        optimizer.zero_grad()
        sum((w * w).sum() for w in weights).backward()
        optimizer.step()

    run = rv.compile(step) if compiled else step
    for count in range(1, 6):
        run()
        for w in weights:
            mean = optimizer.state[w]["exp_avg"]
            assert mean.data_ptr() % 64 == 0
            assert (mean == 2 * (1 - 0.5**count)).all()
