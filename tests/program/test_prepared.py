"""Predictions compute from parameters what follows from them alone once, and again when they change."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.nn import functional as F

RNG = np.random.default_rng(5)
REPLAYS = 3  # recorded, checked, replayed


def draw(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def predictions(fast, x):
    for _ in range(REPLAYS):
        y = fast(x)
    return y.numpy()


def names(fast, prepared):
    return [i.op for i in fast.programs[0].instructions if i.prepared == prepared]


def fused(fast):
    return sorted(name for i in fast.programs[0].instructions for name in i.fused)


def eager(model, x):
    return model(x).detach().numpy().copy()


# --- packed weights


@pytest.mark.parametrize("batch", [5, 8, 9, 32, 50])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_packed_weights_keep_the_bits(batch, dtype):
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(500, 130), nn.Tanh(), nn.Linear(130, 77, bias=False), nn.ReLU())
    model = model.append(nn.Linear(77, 3)).eval().to(dtype)
    fast, x = rv.compile(model), draw(batch, 500, dtype=dtype)
    for threads in (1, 2):
        rv.set_num_threads(threads)
        np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
    assert names(fast, True)[:2] == ["matmul_pack", "matmul_pack"]
    assert names(fast, False) == ["matmul"] * 3
    assert fast.programs[0].memory.prepared >= 500 * 130 * x.itemsize


def test_wide_layers_are_packed_in_strips_and_blocks():
    rv.manual_seed(0)
    model = nn.Linear(1000, 4500).eval()
    fast, x = rv.compile(model), draw(40, 1000)
    np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
    assert names(fast, True) == ["matmul_pack"]


CONVOLUTIONS = {  # model, shape of x, whether its weights are packed
    "direct": lambda: (nn.Conv2d(3, 8, 3), (2, 3, 9, 9), True),
    "strided": lambda: (nn.Conv2d(6, 40, 5, stride=2, padding=1), (2, 6, 19, 18), True),
    "winograd": lambda: (nn.Conv2d(32, 48, 3), (4, 32, 16, 16), True),
    "few outputs": lambda: (nn.Conv2d(70, 2, 3), (2, 70, 6, 6), True),
    "groups": lambda: (nn.Conv2d(12, 12, 3, groups=4), (2, 12, 7, 7), True),
    "depthwise": lambda: (nn.Conv2d(8, 8, 3, groups=8), (2, 8, 9, 9), False),
    "1d": lambda: (nn.Conv1d(3, 20, 5), (2, 3, 30), True),
    "pooled": lambda: (nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)), (3, 1, 15, 15), True),
    "pooled winograd": lambda: (
        nn.Sequential(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        (8, 32, 13, 13),
        True,
    ),
    "pooled and small": lambda: (nn.Sequential(nn.Conv2d(32, 48, 3), nn.MaxPool2d(2)), (1, 32, 9, 9), True),
    "pooled by 3": lambda: (nn.Sequential(nn.Conv2d(32, 64, 3), nn.MaxPool2d(3)), (8, 32, 14, 14), True),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_packed_convolutions_keep_the_bits(case, dtype):
    rv.manual_seed(0)
    model, shape, packed = CONVOLUTIONS[case]()
    model, x = model.eval().to(dtype), draw(*shape, dtype=dtype)
    fast = rv.compile(model)
    for threads in (1, 2):
        rv.set_num_threads(threads)
        np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
    assert names(fast, True) == ["conv2d_pack"] * packed
    with rv.no_grad():
        for p in model.parameters():
            p.mul_(2)
    np.testing.assert_array_equal(fast(x).numpy(), eager(model, x))


def test_what_follows_from_weights_is_computed_once():
    class Positive(nn.Linear):
        def forward(self, x):
            return x @ rv.exp(-self.weight).T

    model, x = Positive(8, 3).eval(), draw(2, 8)
    fast = rv.compile(model)
    np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
    assert names(fast, False) == ["matmul"]


def test_few_rows_need_no_packing():
    model = nn.Linear(64, 64).eval()
    fast, x = rv.compile(model), draw(1, 64)
    np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
    assert names(fast, True) == []


def test_with_a_tape_nothing_is_prepared():
    layer = nn.Linear(64, 64)
    step = rv.compile(lambda x: layer(x).detach())
    predictions(step, draw(20, 64))
    assert names(step, True) == []


# --- batch norms as the last thing that a layer does


def normed(layer, norm, *rest):
    """In evaluation mode, with statistics and parameters that are not where they began, of both signs."""
    rv.manual_seed(2)
    model = nn.Sequential(layer, norm, *rest)
    for name, tensor in norm.state_dict().items():
        if tensor.dtype.kind == "f":
            tensor.copy_(rv.rand(*tensor.shape) + 0.5 if "var" in name else rv.randn(*tensor.shape))
    return model.eval()


NORMED = {
    "conv2d": lambda: (normed(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), (2, 3, 9, 9)),
    "wide": lambda: (normed(nn.Conv2d(3, 70, 3), nn.BatchNorm2d(70)), (2, 3, 9, 9)),
    "large": lambda: (normed(nn.Conv2d(2, 64, 1), nn.BatchNorm2d(64)), (8, 2, 96, 96)),
    "no bias": lambda: (normed(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)), (2, 3, 9, 9)),
    "not affine": lambda: (normed(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False)), (2, 3, 9, 9)),
    "few outputs": lambda: (normed(nn.Conv2d(70, 2, 3), nn.BatchNorm2d(2)), (2, 70, 6, 6)),
    "depthwise": lambda: (normed(nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8)), (2, 8, 9, 9)),
    "depthwise, two vectors": lambda: (
        normed(nn.Conv2d(21, 21, 3, groups=21, bias=False), nn.BatchNorm2d(21)),
        (2, 21, 9, 9),
    ),
    "groups": lambda: (normed(nn.Conv2d(8, 4, 3, groups=2), nn.BatchNorm2d(4)), (2, 8, 9, 9)),
    "groups in a vector": lambda: (
        normed(nn.Conv2d(24, 24, 3, groups=8), nn.BatchNorm2d(24)),
        (2, 24, 9, 9),
    ),
    "1x1": lambda: (normed(nn.Conv2d(5, 7, 1), nn.BatchNorm2d(7)), (3, 5, 4, 4)),
    "winograd": lambda: (normed(nn.Conv2d(32, 48, 3), nn.BatchNorm2d(48)), (4, 32, 16, 16)),
    "winograd, odd": lambda: (normed(nn.Conv2d(32, 50, 3, padding=1), nn.BatchNorm2d(50)), (4, 32, 15, 13)),
    "conv1d": lambda: (normed(nn.Conv1d(3, 8, 5), nn.BatchNorm1d(8)), (2, 3, 20)),
    "linear": lambda: (normed(nn.Linear(50, 20), nn.BatchNorm1d(20)), (16, 50)),
    "linear, many": lambda: (normed(nn.Linear(500, 70), nn.BatchNorm1d(70)), (70, 500)),
    "linear, few rows": lambda: (normed(nn.Linear(900, 1100), nn.BatchNorm1d(1100)), (3, 900)),
    "linear, one row": lambda: (normed(nn.Linear(50, 20, bias=False), nn.BatchNorm1d(20)), (1, 50)),
    "linear, tall": lambda: (normed(nn.Linear(300, 5), nn.BatchNorm1d(5)), (200, 300)),
}
BEHIND = {
    "nothing": lambda dims: [],
    "relu": lambda dims: [nn.ReLU()],
    "tanh": lambda dims: [nn.Tanh()],
    "pool": lambda dims: [nn.MaxPool2d(2)] if dims == 4 else [nn.MaxPool1d(2)] if dims == 3 else [],
    "relu, pool": lambda dims: [nn.ReLU(), *BEHIND["pool"](dims)],
    "pool by 3": lambda dims: [nn.MaxPool2d(3), nn.ReLU()] if dims == 4 else [nn.ReLU()],
}


@pytest.mark.parametrize("case", NORMED)
@pytest.mark.parametrize("behind", BEHIND)
def test_norms_join_the_layer_to_the_bit(case, behind, isa):
    dtype = np.float64 if behind in ("tanh", "pool by 3") else np.float32
    model, shape = NORMED[case]()
    model = nn.Sequential(*model, *BEHIND[behind](len(shape))).eval().to(dtype)
    x = draw(*shape, dtype=dtype)
    x.flat[:: 7 * shape[-1]] = 0
    fast, expected = rv.compile(model), eager(model, x)
    for threads in (1, 2):
        rv.set_num_threads(threads)
        found = predictions(fast, x)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
    assert "batch_norm_scale" in names(fast, True)
    assert "batch_norm_forward" in fused(fast)
    assert "batch_norm_forward" not in names(fast, False)


@pytest.mark.parametrize("case", ["conv2d", "depthwise", "few outputs", "winograd", "linear"])
@pytest.mark.parametrize("behind", ["nothing", "relu", "relu, pool"])
def test_norms_of_what_is_not_finite(case, behind):
    model, shape = NORMED[case]()
    model, x = nn.Sequential(*model, *BEHIND[behind](len(shape))).eval(), draw(*shape)
    x.flat[[3, 17, 40]] = np.inf, np.nan, -np.inf
    with rv.no_grad():
        model[1].running_var[0] = np.inf
        model[1].weight[1] = 0.0
        model[1].bias[1] = -0.0
    fast, expected = rv.compile(model), eager(model, x)
    found = predictions(fast, x)
    np.testing.assert_array_equal(found, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(expected[number]))


def test_relu_and_pool_join_behind_a_norm():
    model = normed(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
    fast, x = rv.compile(model), draw(2, 3, 10, 10)
    np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
    assert names(fast, False) == ["conv2d_pool"]


def test_what_is_read_elsewhere_or_measures_its_batch_stays():
    conv, norm = nn.Conv2d(3, 8, 3).eval(), nn.BatchNorm2d(8).eval()

    class Twice(nn.Module):
        def forward(self, x):
            z = conv(x)
            return norm(z) + z

    for model in (Twice().eval(), nn.Sequential(conv, nn.BatchNorm2d(8, track_running_stats=False)).eval()):
        fast, x = rv.compile(model), draw(2, 3, 9, 9)
        np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
        assert "batch_norm_forward" in names(fast, False)


def test_a_mean_far_larger_than_the_deviation():
    """The mean is 1e6 deviations away: w x + b' with folded weights would cancel out."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)).eval()
    with rv.no_grad():
        model[0].bias.fill_(1000.0)
        model[1].running_mean.copy_(model[0].bias)
        model[1].running_var.fill_(1e-6)
        model[0].weight.mul_(1e-3)
    fast, x = rv.compile(model), draw(2, 1, 8, 8)
    np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
    assert names(fast, False) == ["conv2d_forward"]


# --- changes


def by_optimizer(model, x):
    model.train()
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    model(x).sum().backward()
    optimizer.step()
    model.eval()


def by_captured_step(model, x):
    """Its replays change weights and running statistics."""
    model.train()
    optimizer = optim.Adam(model.parameters(), lr=0.1)

    @rv.compile
    def step(x):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), rv.zeros(*model(x).shape))
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(4):
        step(x)
    model.eval()


def by_captured_statistics(model, x):
    """A replay that changes nothing but running statistics."""
    model.train()

    @rv.compile
    def step(x):
        with rv.no_grad():
            return model(x).sum()

    for _ in range(4):
        step(x)
    model.eval()


def by_loading(model, x):
    model.load_state_dict({k: v * 1.5 if v.dtype.kind == "f" else v for k, v in model.state_dict().items()})


def in_place(model, x):
    with rv.no_grad():
        model[0].weight.mul_(2)


def statistics_in_place(model, x):
    model[1].running_mean.add_(1)


def by_index(model, x):
    with rv.no_grad():
        model[0].weight[0] = 3.0


def by_init(model, x):
    nn.init.ones_(model[0].weight)


def by_numpy(model, x):
    model[0].weight.detach().numpy()[...] *= 2


def by_data(model, x):
    model[0].weight.data.mul_(2)


def by_other_data(model, x):
    model[0].weight.data = rv.randn(*model[0].weight.shape)


def by_another_parameter(model, x):
    model[0].weight = nn.Parameter(rv.randn(*model[0].weight.shape))


def by_another_layer(model, x):
    model[0] = type(model[0])(*model[0].weight.shape[1::-1], *model[0].weight.shape[2:3])


def by_averaging(model, x):
    with rv.no_grad():
        for p in model.parameters():
            p.copy_(0.9 * p + 0.1)


CHANGES = [
    *(by_optimizer, by_captured_step, by_captured_statistics, by_loading, in_place, statistics_in_place),
    *(
        by_index,
        by_init,
        by_numpy,
        by_data,
        by_other_data,
        by_another_parameter,
        by_another_layer,
        by_averaging,
    ),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_changes_are_seen(change, kind):
    if kind == "conv":
        model, x = normed(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()), draw(2, 3, 9, 9)
    else:
        model, x = normed(nn.Linear(60, 40), nn.BatchNorm1d(40), nn.ReLU()), draw(16, 60)
    fast = rv.compile(model)
    before = predictions(fast, x).copy()
    assert names(fast, True)
    for _ in range(2):
        change(model, x)
        found, expected = fast(x).numpy(), eager(model, x)
        np.testing.assert_array_equal(found, expected)
        assert abs(found - before).max() > 1e-3
        np.testing.assert_array_equal(fast(x).numpy(), expected)


def test_a_change_by_numpy_is_seen_each_time():
    model, x = nn.Linear(60, 40).eval(), draw(16, 60)
    weight = model.weight.detach().numpy()
    fast = rv.compile(model)
    for factor in range(1, 8):
        weight[...] = factor
        np.testing.assert_array_equal(fast(x).numpy(), eager(model, x))


def test_a_parameter_on_an_array_of_the_callers():
    model, x, weight = nn.Linear(60, 40).eval(), draw(16, 60), draw(40, 60)
    shared = rv.tensor(weight)
    for parameter, change in (
        (nn.Parameter(weight), lambda: weight.fill(2)),
        (nn.Parameter(rv.from_numpy(weight)), lambda: weight.fill(3)),
        (nn.Parameter(shared), lambda: shared.fill_(4)),
    ):
        model.weight = parameter
        fast = rv.compile(model)
        predictions(fast, x)
        change()
        np.testing.assert_array_equal(fast(x).numpy(), eager(model, x))


def test_a_parameter_on_a_part_of_the_callers_memory():
    memory = draw(2 * 40 * 60)
    model = nn.Linear(60, 40, bias=False)
    model.weight = nn.Parameter(rv.from_numpy(memory[: 40 * 60].reshape(40, 60)))
    fast, x = rv.compile(model.eval()), draw(16, 60)
    np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
    for factor in (2, 3):
        memory *= factor
        np.testing.assert_array_equal(fast(x).numpy(), eager(model, x))


def test_without_a_change_nothing_is_prepared_again():
    """Shown by a change that nobody can see, and that nobody should make."""
    model, x = nn.Linear(60, 40).eval(), draw(16, 60)
    fast = rv.compile(model, verify=100)
    before = predictions(fast, x).copy()
    model.weight._array[...] = 0
    np.testing.assert_array_equal(fast(x).numpy(), before)
    with rv.no_grad():
        model.bias.add_(1)
    np.testing.assert_array_equal(fast(x).numpy(), eager(model, x))


def test_explained():
    model = normed(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 49, 40))
    fast = rv.compile(model)
    predictions(fast, draw(12, 3, 9, 9))
    text = str(fast.programs[0])
    assert "prepared, again after a change of what they read:" in text
    assert "batch_norm_scale" in text
    assert "1.running_mean 8" in text
    assert "matmul_pack" in text
    assert "4.weight" in text
    assert "with batch_norm_forward, activation_forward" in text
    assert "prepared from them" in text
    (at,) = (i for i, line in enumerate(text.splitlines()) if line.strip() == "in each replay:")
    numbers = [
        int(line.split()[0])
        for line in text.splitlines()[:at]
        if line.split()[:1] and line.split()[0].isdigit()
    ]
    assert numbers[-len(names(fast, True)) :] == list(range(len(names(fast, True))))
