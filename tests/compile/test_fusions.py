"""Each fusion is applied where it should be and nowhere else, and gives the eager step's numbers."""

import numpy as np
import pytest
import ranvier as rv
from compile.staleness.small import classifies
from ranvier import nn
from ranvier.autograd.views import bump
from ranvier.distributed.exchange import put
from ranvier.nn import functional as F
from support.strict import strict
from support.unseen import unseen

RNG = np.random.default_rng(3)


def draw(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def gradients_step(model, loss=lambda y: (y * y).mean()):
    """A step without an update: every run of it gives the same gradients."""

    def step(x):
        model.zero_grad()
        value = loss(model(x))
        value.backward()
        return value

    return step


def eager_and_compiled(model, x, loss=lambda y: (y * y).mean()):
    """[(value, gradients)] of an eager run and of a replay; the program."""
    found = []
    compiled = strict(gradients_step(model, loss))
    compiled(x)
    for step in (gradients_step(model, loss), compiled):
        value = step(rv.from_numpy(x))
        found.append((value.item(), [p.grad.numpy().copy() for p in model.parameters()]))
    return found, compiled.programs[0]


def names(program):
    return [i.op for i in program.instructions if not i.prepared]


def fused(program):
    return sorted(name for i in program.instructions for name in i.fused)


def assert_equal(found):
    (value, gradients), (value_c, gradients_c) = found
    assert value == value_c
    for a, b in zip(gradients, gradients_c, strict=True):
        np.testing.assert_array_equal(a, b)


class Twice(nn.Linear):
    """Its product is read by others, too."""

    def forward(self, x):
        y = super().forward(x)
        return rv.relu(y) + y


def dense(size, activation):
    return nn.Sequential(nn.Linear(size, 6), activation(), nn.Linear(6, 3))


class Transposed(nn.Module):
    """The result of an activation is read transposed, so that its gradient has another layout."""

    def __init__(self):
        super().__init__()
        self.layer, self.last = nn.Linear(6, 6), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(rv.tanh(self.layer(x)).T)


BOTH = ["activation_backward", "activation_forward"]
ACTIVATIONS = [
    *(
        (lambda size=shape[-1], kind=kind: dense(size, kind), shape, BOTH)
        for shape in ((5, 7), (32, 20), (70, 20), (3, 30, 7))
        for kind in (nn.ReLU, nn.Tanh, nn.Sigmoid)
    ),
    (lambda: dense(7, nn.GELU), (70, 7), ["activation_backward"]),  # the backward of GELU reads x
    (lambda: Twice(7, 6), (5, 7), []),
    (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Sigmoid()),
        (2, 3, 9, 9),
        ["activation_forward"],
    ),
    (Transposed, (5, 6), None),
]


@pytest.mark.parametrize(("make", "shape", "joined"), ACTIVATIONS)
def test_activations_join_the_layers(make, shape, joined):
    found, program = eager_and_compiled(make(), draw(*shape))
    assert_equal(found)
    assert joined is None or fused(program) == joined


POOLED = {
    "relu before": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2)),
    "relu after": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.ReLU()),
    "no relu": lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(3)),
    "oblong": lambda: nn.Sequential(nn.Conv2d(3, 8, (3, 2)), nn.ReLU(), nn.MaxPool2d((2, 3))),
    "two stages": lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 5, 3), nn.ReLU(), nn.MaxPool2d(2)
    ),
}


@pytest.mark.parametrize(("channels", "outputs"), [(16, 4), (8, 1), (16, 20)])
def test_pixels_before_a_pool_stay_a_product(channels, outputs):
    model = nn.Sequential(nn.Conv2d(channels, outputs, 1), nn.ReLU(), nn.MaxPool2d(2))
    found, program = eager_and_compiled(model, draw(5, channels, 8, 8))
    assert_equal(found)
    assert "conv2d_pool" not in names(program)


@pytest.mark.parametrize("case", POOLED)
@pytest.mark.parametrize("size", [(2, 3, 13, 12), (1, 3, 16, 16)])
def test_pooled_convolutions(case, size):
    rv.manual_seed(1)
    model = POOLED[case]()
    found, program = eager_and_compiled(model, draw(*size))
    stages = case.count("stages") + 1
    assert names(program).count("conv2d_pool") == stages
    assert names(program).count("conv2d_pool_backward_weight") == stages
    assert names(program).count("conv2d_pool_backward_input") == stages - 1
    assert not {"conv2d_forward", "max_pool2d", "max_pool2d_backward"} & set(names(program))
    assert_equal(found)


@pytest.mark.parametrize("size", [(4, 26), (26, 4)])
def test_pooled_convolutions_of_flat_and_tall_images(size):
    """Both sides decide which kernel the convolution has, and with it the order of its sums."""
    rv.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(32, 48, 3), nn.MaxPool2d(2), nn.ReLU())
    found, program = eager_and_compiled(model, draw(2, 32, *size))
    assert "conv2d_pool" in names(program)
    assert_equal(found)


def test_a_pool_of_transposed_images_stays():
    conv = nn.Conv2d(3, 8, 3)
    forward = strict(lambda x: F.max_pool2d(conv(x).transpose(2, 3), 2).detach())
    x = rv.from_numpy(draw(2, 3, 10, 10))
    for _ in range(3):
        found = forward(x)
    expected = F.max_pool2d(conv(x).transpose(2, 3), 2).detach()
    np.testing.assert_array_equal(found.numpy(), expected.numpy())
    assert "max_pool2d" in names(forward.programs[0])


def test_pools_that_overlap_or_are_read_elsewhere_stay():
    overlapping = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(3, 2))
    found, program = eager_and_compiled(overlapping, draw(2, 3, 13, 13))
    assert_equal(found)
    assert "conv2d_pool" not in names(program)
    conv = nn.Conv2d(3, 8, 3)

    def model(x):
        y = F.relu(conv(x))
        return F.max_pool2d(y, 2).sum() + y.sum()

    model.zero_grad, model.parameters = conv.zero_grad, conv.parameters
    found, program = eager_and_compiled(model, draw(2, 3, 13, 13), loss=lambda y: y)
    assert_equal(found)
    assert "conv2d_pool" not in names(program)


def test_a_gradient_between_the_two_that_is_a_result_is_made():
    conv, x = nn.Conv2d(3, 8, 3), rv.from_numpy(draw(2, 3, 8, 8))

    def step(x):
        z = conv(x)
        y = F.max_pool2d(z, 2)
        return rv.autograd.grad((y * y).sum(), [z])[0]

    compiled, expected = strict(step), step(x).numpy()
    for _ in range(3):
        np.testing.assert_array_equal(compiled(x).numpy(), expected)


def test_float64_is_not_pooled_but_right():
    model = POOLED["two stages"]().double()
    found, program = eager_and_compiled(model, draw(2, 3, 13, 12).astype(np.float64))
    assert_equal(found)
    assert "max_pool2d" in names(program)


def test_inference_pools_without_offsets():
    model = POOLED["two stages"]().eval()
    forward = strict(lambda x: model(x).detach())
    x = draw(2, 3, 13, 12)
    with rv.no_grad():
        expected = forward(x).numpy()
        np.testing.assert_array_equal(forward(x).numpy(), expected)
        np.testing.assert_array_equal(model(x).numpy(), expected)
    assert names(forward.programs[0]) == ["conv2d_pool", "conv2d_pool"]


def test_unused_results_are_not_computed():
    step = strict(lambda x: (rv.exp(x), x + 1)[1])
    step(rv.from_numpy(draw(3)))
    assert names(step.programs[0]) == ["elementwise"]


NORMED = {
    "conv": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)),
    "linear": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(507, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 2)
    ),
    "wide": lambda: nn.Sequential(nn.Conv2d(3, 520, 1), nn.BatchNorm2d(520), nn.ReLU(), nn.Conv2d(520, 2, 1)),
}


@pytest.mark.parametrize("case", NORMED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu_joins_the_norm(case, dtype):
    model = NORMED[case]().to(dtype)
    found, program = eager_and_compiled(model, draw(4, 3, 13, 13).astype(dtype))
    assert_equal(found)
    norms = [i for i in program.instructions if i.op == "batch_norm_forward"]
    assert [i.fused for i in norms] == [("activation_forward",)]


NORM_POOLED = {
    "relu": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
    "no relu": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.MaxPool2d(2)),
    "relu after": lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.ReLU()),
    "windows of 3": lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(3)),
    "of 2 x 3": lambda: nn.Sequential(
        nn.Conv2d(3, 70, 3), nn.BatchNorm2d(70), nn.ReLU(), nn.MaxPool2d((2, 3))
    ),
}


@pytest.mark.parametrize("case", NORM_POOLED)
@pytest.mark.parametrize("size", [(2, 3, 13, 12), (5, 3, 16, 16), (1, 3, 30, 9)])
def test_pools_join_the_norm(case, size):
    rv.manual_seed(1)
    model = NORM_POOLED[case]()
    with rv.no_grad():
        model[1].weight.copy_(rv.randn(*model[1].weight.shape))  # of both signs
    found, program = eager_and_compiled(model, draw(*size))
    assert_equal(found)
    assert "max_pool2d" not in names(program)
    assert "max_pool2d_backward" in names(program)
    if model[2].__class__ is nn.ReLU:  # its backward comes before the pool's, on fewer elements
        order = [op for op in names(program) if op in ("activation_backward", "max_pool2d_backward")]
        assert order == ["activation_backward", "max_pool2d_backward"]


def test_a_normed_network_trains_to_the_eager_bits_on_any_team():
    def trained(compiled, threads):
        rv.manual_seed(3)
        rv.set_num_threads(threads)
        model = nn.Sequential(
            *(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 24, 3), nn.BatchNorm2d(24), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 25, 4)),
        )
        optimizer = rv.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

        step = classifies(model, optimizer)
        step = strict(step) if compiled else step
        rng = np.random.default_rng(0)
        for n in (20, 20, 20, 7, 7, 7, 20):
            step(rv.tensor(rng.random((n, 1, 16, 16), np.float32)), rv.tensor(rng.integers(0, 4, n)))
        return [t.detach().numpy() for t in model.state_dict().values()]

    expected = trained(False, 1)
    for threads in (1, 2):
        for a, b in zip(expected, trained(True, threads), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shape", [(16, 10), (3, 5, 4, 6)])
def test_log_softmax_and_nll_keep_their_bits(shape, reduction, dtype):
    layer = nn.Conv2d(shape[1], shape[1], 1) if len(shape) == 4 else nn.Linear(shape[1], shape[1])
    model = nn.Sequential(layer).to(dtype)
    y = rv.tensor(RNG.integers(0, shape[1], (shape[0], *shape[2:])))
    weight = rv.tensor(RNG.random(shape[1]).astype(dtype))

    def loss(scores):
        return F.nll_loss(F.log_softmax(scores, 1), y, weight=weight, ignore_index=2, reduction=reduction)

    found, program = eager_and_compiled(model, draw(*shape).astype(dtype), loss)
    assert_equal(found)
    assert {"softmax_forward", "softmax_backward"} <= set(names(program))


add = unseen("put(more._array, total._array, True); bump(total)", "more", "total", put=put, bump=bump)


def sums(total, copied, between):
    """A product that is written to memory which outlives the step, and another that is added there."""

    def step(a, b):
        made, more = a @ b, a.sin() @ b
        with rv.no_grad():
            copied.copy_(made)
            between(more, total)
            add(more, total)

    return step


def eager_and_replayed_sums(m, k, n, at=0, between=lambda more, total: None):
    """The memory after six eager steps, and after six calls of the compiled one; the names fused."""
    found = []
    for compile in (False, True):
        flat = np.zeros(2 * m * n + at, np.float32)
        total, copied = (rv.from_numpy(part.reshape(m, n)) for part in np.split(flat[at:], 2))
        step = sums(total, copied, between)
        run = strict(step) if compile else step
        for i in range(6):
            rng = np.random.default_rng(i)
            run(*(rv.from_numpy(rng.standard_normal(s).astype(np.float32)) for s in ((m, k), (k, n))))
        found.append(flat)
    np.testing.assert_array_equal(found[1], found[0])
    assert np.abs(found[0][at:]).min() > 0
    return fused(run.programs[0])


@pytest.mark.parametrize(
    ("m", "k", "n", "names"),
    [
        (12, 16, 40, ["copy", "elementwise"]),
        (9, 1, 9, ["copy", "elementwise"]),
        (70, 33, 65, ["copy", "elementwise"]),
        (300, 16, 17, ["copy", "elementwise"]),
        (8, 16, 40, ["copy"]),  # may be computed in whole rows
        (12, 1000, 40, ["copy"]),  # several chains
    ],
)
@pytest.mark.parametrize("at", [0, 3])
def test_products_are_written_and_added_where_they_are_kept(m, k, n, names, at):
    assert eager_and_replayed_sums(m, k, n, at) == names


KEPT = rv.zeros(12, 40)
USES = {
    "the product is read again": lambda more, total: KEPT.add_(more),
    "the sum is read between": lambda more, total: KEPT.copy_(total),
    "the sum is written between": lambda more, total: total.mul_(0.5),
}


@pytest.mark.parametrize("use", USES)
def test_a_product_stays_where_its_place_is_in_use(use):
    assert eager_and_replayed_sums(12, 16, 40, between=USES[use]) == ["copy"]


def test_what_is_concatenated_twice_is_written_in_place():
    def step(a, b, c):
        return rv.cat([rv.cat([a.tanh(), b.tanh()]), c.tanh()]).exp()

    arrays = [rv.from_numpy(draw(n)) for n in (4, 1, 5)]
    compiled = strict(step)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(*arrays).numpy(), step(*arrays).numpy())
    assert "copy" not in names(compiled.programs[0])
