"""func.stack makes one module of several alike (members), whose layers compute all of them at once. Each
member has the bits that it has when it is trained alone, in eager and in compiled steps. With split=True each
member keeps its own parameters and may have its own optimizer; else (joint) parameters have a leading axis of
members.
"""

import copy
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.func import Stack, stack, unstack, vmap
from ranvier.nn import functional as F
from ranvier.ops.making import random
from support.refused import refused

MEMBERS, BATCH = 4, 6
RNG = np.random.default_rng(0)
X = rv.tensor(RNG.standard_normal((MEMBERS, BATCH, 8)).astype(np.float32))
Y = rv.tensor(RNG.integers(0, 3, (MEMBERS, BATCH)))
MODELS = {
    "mlp": lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)),
    "norm, dropout": lambda: nn.Sequential(
        nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Dropout(0.4), nn.Linear(6, 3)
    ),
    "cnn": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 2, 2)),
        nn.Conv2d(2, 4, 1),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.LayerNorm(4),
        nn.Linear(4, 3),
    ),
    "lstm": lambda: _Last(),
    "frozen": lambda: _frozen(),
    "tied": lambda: _tied(),
}
LAYER = "[stack] got a call, mode, hook or setting of a layer of all members; expected it of the modules"
OPTIMIZERS = {
    "sgd": lambda p: rv.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: rv.optim.AdamW(p, lr=0.01),
}


class _Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.lstm(x.reshape(len(x), 2, 4))[0][:, -1])


def _frozen():
    model = nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 3))
    model[0].bias.requires_grad_(False)
    return model


def _tied():
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, 3))
    model[2].weight = model[0].weight
    return model


def members(name, count=MEMBERS):
    rv.manual_seed(1)
    return [MODELS[name]() for _ in range(count)]


def streams(count=MEMBERS):
    return [rv.Generator().manual_seed(i) for i in range(count)]


def trained_alone(models, make, steps=6, settings=None):
    """The modules after some steps of their own, and their last losses."""
    models, losses = [copy.deepcopy(model) for model in models], []
    for i, (model, stream) in enumerate(zip(models, streams(), strict=True)):
        optimizer = (settings or (lambda p, i: make(p)))(list(model.parameters()), i)
        for _ in range(steps):
            optimizer.zero_grad()
            with random.using(stream):
                loss = F.cross_entropy(model(X[i]), Y[i])
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    return models, losses


def step_of(many, optimizers, criterion=F.cross_entropy):
    def step(x, y):
        for optimizer in optimizers:
            optimizer.zero_grad()
        losses = vmap(criterion)(many(x), y)
        losses.sum().backward()
        for optimizer in optimizers:
            optimizer.step()
        return losses

    return step


def same(ours, theirs):
    """The same names and bits in both lists of modules."""
    for one, other in zip(ours, theirs, strict=True):
        for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=name)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("split", [False, True], ids=["joint", "split"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_members_have_the_bits_of_training_alone(name, optimizer, split, compiled):
    models = members(name)
    expected, losses = trained_alone(models, OPTIMIZERS[optimizer])
    many = stack(models, streams(), split=split)
    leaves = [m.parameters() for m in many.members] if split else [many.parameters()]
    step = step_of(many, [OPTIMIZERS[optimizer](p) for p in leaves])
    step = rv.compile(step) if compiled else step
    for _ in range(6):
        result = step(X, Y)
    # The weights have the same bits. A loss adds up its 32 samples in another order: five roundings and one.
    np.testing.assert_allclose(result.numpy(force=True), losses, rtol=6 * np.finfo(np.float32).eps)
    assert not compiled or step.programs
    same(unstack(many), expected)
    same(models, members(name))  # the modules given are left as they were


def test_each_member_has_settings_clipping_and_a_schedule():
    """With split=True, an optimizer, a clipped gradient and a schedule for each member: the weights of
    training alone."""
    settings = lambda p, i: rv.optim.SGD(p, lr=0.1 * (i + 1))  # noqa: E731
    models = members("mlp")
    many = stack(models, streams(), split=True)
    leaves = [list(m.parameters()) for m in many.members]
    optimizers = [settings(p, i) for i, p in enumerate(leaves)]
    schedules = [rv.optim.lr_scheduler.ExponentialLR(o, 0.5) for o in optimizers]

    @rv.compile
    def step(x, y):
        for optimizer in optimizers:
            optimizer.zero_grad()
        losses = vmap(F.cross_entropy)(many(x), y)
        losses.sum().backward()
        for p, optimizer in zip(leaves, optimizers, strict=True):
            nn.utils.clip_grad_norm_(p, 0.3)
            optimizer.step()
        return losses

    expected = [copy.deepcopy(model) for model in models]
    alone = [settings(list(model.parameters()), i) for i, model in enumerate(expected)]
    others = [rv.optim.lr_scheduler.ExponentialLR(o, 0.5) for o in alone]
    for _ in range(5):
        step(X, Y)
        for i, (model, optimizer) in enumerate(zip(expected, alone, strict=True)):
            optimizer.zero_grad()
            F.cross_entropy(model(X[i]), Y[i]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.3)
            optimizer.step()
        for schedule in (*schedules, *others):
            schedule.step()
    same(unstack(many), expected)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_members_that_have_ended_stay_as_they_are(compiled):
    """After `many.active = [0, 3]` only these two are called and trained; all have the weights of training
    alone for as long."""
    models = members("norm, dropout")
    many = stack(models, streams(), split=True)
    optimizers = [rv.optim.Adam(m.parameters(), lr=0.01) for m in many.members]

    def step(x, y):
        many.zero_grad()
        losses = vmap(F.cross_entropy)(many(x), y)
        losses.sum().backward()
        for i in many.active:
            optimizers[i].step()
        return losses

    step = rv.compile(step) if compiled else step
    for _ in range(4):
        step(X, Y)
    many.active = [0, 3]
    for _ in range(2):
        assert step(X[[0, 3]], Y[[0, 3]]).shape == (2,)
    long, short = (trained_alone(models, lambda p: rv.optim.Adam(p, lr=0.01), n)[0] for n in (6, 4))
    same(unstack(many), [long[0], short[1], short[2], long[3]])


def test_one_batch_for_all():
    models = members("mlp")
    many = stack(models)
    y = many(X[0], in_dims=None)
    for i, model in enumerate(models):
        np.testing.assert_array_equal(y[i].detach().numpy(), model(X[0]).detach().numpy())


def test_modes_reach_the_members():
    many = stack(members("norm, dropout")).eval()
    assert (many(X) == many(X)).all()
    many.train()
    assert not (many(X) == many(X)).all()
    assert [model.training for model in unstack(many)] == [True] * MEMBERS


def test_the_state_has_a_leading_axis_and_loads():
    one, two = stack(members("norm, dropout")), stack(members("norm, dropout")[::-1])
    assert {name: x.shape[0] for name, x in one.state_dict().items()} == dict.fromkeys(
        members("norm, dropout")[0].state_dict(), MEMBERS
    )
    two.load_state_dict(one.state_dict())
    same(unstack(two), unstack(one))


def test_a_split_stack_has_the_state_of_a_list_of_modules():
    one, two = (stack(members("norm, dropout")[::step], split=True) for step in (1, -1))
    one.load_state_dict(nn.ModuleList(two.members).state_dict())
    same(unstack(one), members("norm, dropout")[::-1])


@pytest.mark.parametrize("split", [False, True], ids=["joint", "split"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies(copied, split):
    many = stack(members("norm, dropout"), streams(), split=split)
    other = copied(many)
    step_of(many, [rv.optim.SGD(many.parameters(), lr=0.1)])(X, Y)
    step_of(other, [rv.optim.SGD(other.parameters(), lr=0.1)])(X, Y)
    same(unstack(other), unstack(many))


@pytest.mark.parametrize("split", [False, True], ids=["joint", "split"])
def test_double(split):
    many = stack(members("mlp"), split=split).double()
    assert many(X.double()).dtype == np.float64
    assert unstack(many)[0](X[0].double()).dtype == np.float64


def test_repr():
    assert repr(stack(members("mlp"))).startswith("Stack(\n  4 x Sequential\n")
    assert len(stack(members("mlp"))) == MEMBERS


def test_errors():
    refused(ValueError, "[stack] got no modules", stack, [])
    refused(TypeError, "[stack] got int; expected modules", stack, [nn.ReLU(), 3])
    linear = nn.Linear(2, 3)
    text = "[stack] got 'weight' as float32 (3, 2), tied to 'weight' in member 0 and float32 (4, 2)"
    refused(ValueError, text, stack, [linear, nn.Linear(2, 4)])
    text = "[stack] got 'bias' as float32 (3,), tied to 'bias' in member 0 and missing in member 1"
    refused(ValueError, text, stack, [linear, nn.Linear(2, 3, bias=False)])
    refused(ValueError, "float64 (3, 2)", stack, [linear, nn.Linear(2, 3).double()])
    refused(ValueError, "frozen", stack, [linear, nn.Linear(2, 3).requires_grad_(False)])
    refused(ValueError, "[stack] got member 0 with a lazy layer", stack, [nn.LazyLinear(3)])
    refused(ValueError, "[stack] got generators [1]", stack, [nn.Linear(8, 3)], [1])
    refused(TypeError, "[unstack] got ReLU; expected a Stack", unstack, nn.ReLU())


def test_errors_of_a_stack():
    whole = stack(members("mlp"))
    refused(ValueError, "[stack] got 3 slices; expected one for each of 4", whole, X[:3])
    refused(TypeError, "[stack] got the Tensor 'input' by name", whole, input=X)
    refused(TypeError, "[stack] got the Tensor 'states' by name", whole, X, {}, states=[X])
    refused(RuntimeError, "expected stack(..., split=True)", lambda: whole.members)
    refused(RuntimeError, "[stack] got members with", setattr, whole, "active", [0])
    refused(TypeError, "[stack] got apply() of layers", whole.apply, print)
    split = stack(members("mlp"), split=True)
    for active, shown in (([3, 0], "(3, 0)"), ([], "()"), ([4], "(4,)")):
        refused(ValueError, f"[stack] got active {shown}", setattr, split, "active", active)


def test_a_layer_of_all_members_refuses_calls_and_settings():
    layer = stack(members("mlp")).get_submodule("0")
    refused(TypeError, LAYER, layer, X)
    refused(TypeError, LAYER, layer.eval)
    refused(TypeError, LAYER, layer.apply, print)
    refused(TypeError, LAYER, layer.register_forward_hook, print)
    refused(TypeError, LAYER, layer.register_full_backward_hook, print)
    refused(TypeError, LAYER, setattr, layer, "in_features", 3)
    refused(TypeError, LAYER, setattr, layer, "extra", nn.ReLU())


def test_a_layer_of_all_members_is_frozen():
    many = stack(members("mlp"))
    layer = many.get_submodule("0").requires_grad_(False)
    step_of(many, [rv.optim.SGD(many.parameters(), lr=0.1)])(X, Y)
    for one, model in zip(unstack(many), members("mlp"), strict=True):
        np.testing.assert_array_equal(one[0].weight.numpy(), model[0].weight.detach().numpy())
        assert not one[0].weight.requires_grad
    layer.weight = nn.Parameter(rv.zeros(MEMBERS, 16, 8))
    assert all(not one[0].weight.any() for one in unstack(many))


def test_a_layer_of_a_split_member_has_its_settings():
    many = stack(members("norm, dropout"), split=True)
    norm = many.members[1][1].eval()
    many(X)
    assert norm.num_batches_tracked == 0
    assert many.members[0][1].num_batches_tracked == 1
    many.apply(lambda m: nn.init.zeros_(m.weight) if isinstance(m, nn.Linear) else None)
    assert not unstack(many)[2][0].weight.any()


def test_a_stack_of_one():
    (model,) = members("mlp", 1)
    assert isinstance(stack([model]), Stack)
    np.testing.assert_array_equal(stack([model])(X[:1])[0].detach().numpy(), model(X[0]).detach().numpy())


def _trained_on(threads):
    rv.manual_seed(2)
    cnn = lambda: nn.Sequential(  # noqa: E731
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 3),
    )  # fmt: skip
    many = stack([cnn() for _ in range(16)], split=True)
    optimizers = [rv.optim.SGD(m.parameters(), lr=0.1) for m in many.members]
    x = rv.tensor(np.random.default_rng(1).standard_normal((16, 8, 1, 28, 28)).astype(np.float32))
    before = rv.get_num_threads()
    rv.set_num_threads(threads)
    try:
        step = rv.compile(step_of(many, optimizers))
        for _ in range(70):  # it has tried both ways then, by lanes and one call after the other
            losses = step(x, rv.zeros(16, 8, dtype=rv.int64))
    finally:
        rv.set_num_threads(before)
    return losses.tolist(), unstack(many)


def test_members_on_two_threads_have_scratch_memory_of_their_own():
    """Their convolutions and pools take more of it than other layers do."""
    (alone, models), (shared, others) = _trained_on(1), _trained_on(2)
    assert alone == shared
    same(models, others)
