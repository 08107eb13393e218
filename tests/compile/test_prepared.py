"""Predictions compute values that depend on parameters alone once, and again when these change."""

import copy
import ctypes

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.nn import functional as F
from support.predictions import draw, eager, names, normed, predictions
from support.strict import strict

# --- packed weights


@pytest.mark.parametrize("batch", [5, 8, 9, 32, 50])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_packed_weights_keep_the_bits(batch, dtype):
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(500, 130), nn.Tanh(), nn.Linear(130, 77, bias=False), nn.ReLU())
    model = model.append(nn.Linear(77, 3)).eval().to(dtype)
    fast, x = strict(model), draw(batch, 500, dtype=dtype)
    for threads in (1, 2):
        rv.set_num_threads(threads)
        np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
    assert names(fast, True)[:2] == ["matmul_pack", "matmul_pack"]
    assert names(fast, False) == ["matmul"] * 3
    assert fast.programs[0].memory.prepared >= 500 * 130 * x.itemsize


def test_wide_layers_are_packed_in_strips_and_blocks():
    rv.manual_seed(0)
    model = nn.Linear(1000, 4500).eval()
    fast, x = strict(model), draw(40, 1000)
    np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
    assert names(fast, True) == ["matmul_pack"]


CONVOLUTIONS = {  # model, shape of x, whether its weights are packed (None: at some levels)
    "direct": lambda: (nn.Conv2d(3, 16, 3), (2, 3, 9, 9), True),
    "planes": lambda: (nn.Conv2d(3, 8, 3), (2, 3, 9, 9), None),
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
    fast = strict(model)
    for threads in (1, 2):
        rv.set_num_threads(threads)
        np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
    if packed is not None:
        assert names(fast, True) == ["conv2d_pack"] * packed
    with rv.no_grad():
        for p in model.parameters():
            p.mul_(2)
    np.testing.assert_array_equal(fast(x).numpy(), eager(model, x))


def test_values_computed_from_weights_are_computed_once():
    class Positive(nn.Linear):
        def forward(self, x):
            return x @ rv.exp(-self.weight).T

    model, x = Positive(8, 3).eval(), draw(2, 8)
    fast = strict(model)
    np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
    assert names(fast, False) == ["matmul"]


def test_a_model_without_arguments():
    class Scales(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(rv.randn(3, 4))

        def forward(self):
            return rv.exp(self.weight) + 1

    model = Scales().eval()
    fast = strict(model)
    for _ in range(3):
        y = fast()
    np.testing.assert_array_equal(y.numpy(), model().detach().numpy())
    assert (names(fast, True), names(fast, False)) == (["elementwise"], ["elementwise"])


@pytest.mark.parametrize(("size", "packed"), [(32, []), (64, ["matmul_pack"])])
def test_few_rows_of_small_weights_need_no_packing(size, packed):
    model = nn.Linear(size, size).eval()
    fast, x = strict(model), draw(1, size)
    np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
    assert names(fast, True) == packed


def test_no_rows_need_no_packing():
    model = nn.Linear(1000, 300).eval()
    fast, x = strict(model), np.ones((0, 1000), np.float32)
    assert predictions(fast, x).shape == (0, 300)
    assert names(fast, True) == []


def test_with_a_tape_nothing_is_prepared():
    layer = nn.Linear(64, 64)
    step = strict(lambda x: layer(x).detach())
    predictions(step, draw(20, 64))
    assert names(step, True) == []


# --- changes


def by_optimizer(model, x):
    model.train()
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    model(x).sum().backward()
    optimizer.step()
    model.eval()


def by_compiled_step(model, x):
    """Its replays change weights and running statistics."""
    model.train()
    optimizer = optim.Adam(model.parameters(), lr=0.1)

    @strict
    def step(x):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), rv.zeros(*model(x).shape))
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(4):
        step(x)
    model.eval()


def by_compiled_statistics(model, x):
    """A replay that changes nothing but running statistics."""
    model.train()

    @strict
    def step(x):
        with rv.no_grad():
            return model(x).sum()

    for _ in range(4):
        step(x)
    model.eval()


def by_averaging(model, x):
    with rv.no_grad():
        for p in model.parameters():
            p.copy_(0.9 * p + 0.1)


def by_another_layer(model, x):
    model[0] = type(model[0])(*model[0].weight.shape[1::-1], *model[0].weight.shape[2:3])


def doubled(weight):
    return weight.detach() * 2


CHANGES = {
    "by an optimizer": by_optimizer,
    "by a compiled step": by_compiled_step,
    "by compiled statistics": by_compiled_statistics,
    "by averaging": by_averaging,
    "another layer": by_another_layer,
    "by loading": lambda m, x: m.load_state_dict(
        {k: v * 1.5 if v.dtype.kind == "f" else v for k, v in m.state_dict().items()}
    ),
    "in place": lambda m, x: rv.no_grad()(m[0].weight.mul_)(2),
    "statistics in place": lambda m, x: m[1].running_mean.add_(1),
    "by index": lambda m, x: rv.no_grad()(m[0].weight.__setitem__)(0, 3.0),
    "through a view": lambda m, x: m[0].weight.detach()[0].mul_(2),
    "through a shallow copy": lambda m, x: copy.copy(m[0].weight.detach()).mul_(2),
    "by init": lambda m, x: nn.init.ones_(m[0].weight),
    "by NumPy": lambda m, x: m[0].weight.detach().numpy().__imul__(2),
    "data in place": lambda m, x: m[0].weight.data.mul_(2),
    "other data": lambda m, x: setattr(m[0].weight, "data", rv.randn(*m[0].weight.shape)),
    "another parameter": lambda m, x: setattr(m[0], "weight", nn.Parameter(doubled(m[0].weight))),
    "bias": lambda m, x: m[0].bias.data.add_(1),
    "a layer appended": lambda m, x: m.append(nn.Tanh()),
    "a layer deleted": lambda m, x: m.__delitem__(-1),
    "another activation": lambda m, x: m.__setitem__(2, nn.GELU() if type(m[2]) is nn.Tanh else nn.Tanh()),
    "forward replaced": lambda m, x: setattr(m[2], "forward", lambda y: y * 3),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_changes_are_seen(change, kind):
    if kind == "conv":
        model, x = normed(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()), draw(2, 3, 9, 9)
    else:
        model, x = normed(nn.Linear(60, 40), nn.BatchNorm1d(40), nn.ReLU()), draw(16, 60)
    fast = strict(model)
    before = predictions(fast, x).copy()
    assert names(fast, True)
    for _ in range(2):
        CHANGES[change](model, x)
        found, expected = fast(x).numpy(), eager(model, x)
        np.testing.assert_array_equal(found, expected)
        assert abs(found - before).max() > 1e-3
        np.testing.assert_array_equal(fast(x).numpy(), expected)


def test_a_change_by_numpy_is_seen_each_time():
    model, x = nn.Linear(60, 40).eval(), draw(16, 60)
    weight = model.weight.detach().numpy()
    fast = strict(model)
    for factor in range(1, 8):
        weight[...] = factor
        np.testing.assert_array_equal(fast(x).numpy(), eager(model, x))


def test_a_write_to_an_address_is_seen_each_time():
    model, x = nn.Linear(60, 80).eval(), draw(16, 60)
    fast = strict(model)
    predictions(fast, x)
    fast(x)  # the check of the fourth call
    address = ctypes.cast(model.weight.data_ptr(), ctypes.POINTER(ctypes.c_float))
    for number in (3.0, 4.0):
        address[0] = number
        np.testing.assert_array_equal(fast(x).numpy(), eager(model, x))


class Subclass(np.ndarray):
    pass


def test_a_parameter_on_an_array_of_the_callers():
    model, x, weight = nn.Linear(60, 40).eval(), draw(16, 60), draw(40, 60)
    shared, of_subclass = rv.tensor(weight), draw(40, 60).view(Subclass)
    for parameter, change in (
        (nn.Parameter(weight), weight.fill),
        (nn.Parameter(rv.from_numpy(weight)), weight.fill),
        (nn.Parameter(shared), shared.fill_),
        (nn.Parameter(of_subclass), of_subclass.fill),
        (nn.Parameter(memoryview(weight)), weight.fill),
    ):
        model.weight = parameter
        fast = strict(model)
        predictions(fast, x)
        for number in (2, 3, 4):  # the first calls may be checks
            change(number)
            np.testing.assert_array_equal(fast(x).numpy(), eager(model, x))


def test_a_parameter_on_a_part_of_the_callers_memory():
    memory = draw(2 * 40 * 60)
    model = nn.Linear(60, 40, bias=False)
    model.weight = nn.Parameter(rv.from_numpy(memory[: 40 * 60].reshape(40, 60)))
    fast, x = strict(model.eval()), draw(16, 60)
    np.testing.assert_array_equal(predictions(fast, x), eager(model, x))
    for factor in (2, 3):
        memory *= factor
        np.testing.assert_array_equal(fast(x).numpy(), eager(model, x))


@pytest.mark.parametrize(("rows", "prepared"), [(80, ["matmul_pack"]), (40, [])])
def test_a_parameter_on_a_part_of_a_tensor_is_not_watched(rows, prepared):
    memory, model, x = rv.tensor(draw(80, 60)), nn.Linear(60, rows, bias=False), draw(16, 60)
    model.weight = nn.Parameter(memory[:rows])
    fast = strict(model.eval())
    predictions(fast, x)
    assert names(fast, True) == prepared
    memory.mul_(2)
    np.testing.assert_array_equal(fast(x).numpy(), eager(model, x))


def test_without_a_change_nothing_is_prepared_again():
    """Tested with a change that the library cannot notice, and that users must not make."""
    model, x = nn.Linear(60, 40).eval(), draw(16, 60)
    fast = strict(model, verify=100)
    before = predictions(fast, x).copy()
    model.weight._array[...] = 0
    np.testing.assert_array_equal(fast(x).numpy(), before)
    with rv.no_grad():
        model.bias.add_(1)
    np.testing.assert_array_equal(fast(x).numpy(), eager(model, x))


def test_explained():
    model = normed(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 49, 40))
    fast = strict(model)
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
