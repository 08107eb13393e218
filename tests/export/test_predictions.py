"""Models of every supported layer as C: the answers of the compiled file are those of Python."""

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn
from support.c_files import COMPILERS, Compiled, needs_compiler
from support.tolerance import tolerance
from support.training import training

pytestmark = needs_compiler


class Of(nn.Module):
    """A function as a module, with layers."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, *inputs):
        return self.function(*self.layers, *inputs)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def require_equal(model, folder, *inputs, terms=64, compiler=""):
    """Compiles the model and compares: a sum of so many terms."""
    model.eval()
    for number, norm in enumerate(model.modules()):
        if isinstance(getattr(norm, "running_mean", None), rv.Tensor):
            norm.running_mean.copy_(rv.tensor(numbers(*norm.running_mean.shape, seed=number)))
            norm.running_var.copy_(rv.tensor(numbers(*norm.running_var.shape, seed=number) ** 2 + 0.5))
    compiled = Compiled(folder, model, tuple(np.zeros_like(x) for x in inputs), compiler)
    with rv.no_grad():
        expected = model(*map(rv.tensor, inputs)).numpy()
    y = compiled.predict(*inputs, shape=expected.shape)
    largest = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance(np.float32, terms, largest))
    return compiled


@pytest.mark.parametrize("compiler", COMPILERS)
def test_mlp(tmp_path, compiler):
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    compiled = require_equal(model, tmp_path, numbers(3, 4), compiler=compiler)
    assert compiled.report.weights == 4 * sum(p.numel() for p in model.parameters())
    assert compiled.report.ram == 4 * 3 * 64 * 2


def test_code_of_an_mlp_is_small(tmp_path):
    import shutil
    import subprocess

    if not shutil.which("size"):
        pytest.skip("no program `size` here")
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = rv.optim.Adam(model.parameters())
    step = training(model, optimizer, F.mse_loss)
    for most, target, example in (
        (1500, model, rv.zeros(1, 4)),
        (6000, step, (rv.zeros(8, 4), rv.zeros(8, 2))),
    ):
        report = rv.export.c(target, tmp_path / "net.c", example)
        command = [COMPILERS[0], "-std=c99", "-Os", "-c", tmp_path / "net.c", "-o", tmp_path / "net.o"]
        subprocess.run(command, check=True, timeout=100)
        text = subprocess.run(
            ["size", tmp_path / "net.o"], capture_output=True, text=True, timeout=100
        ).stdout
        assert int(text.split()[6]) - report.weights <= most


ACTIVATIONS = [
    *(nn.ReLU(), nn.LeakyReLU(0.1), nn.ELU(0.7), nn.CELU(0.6), nn.SELU(), nn.Sigmoid(), nn.Tanh(), nn.SiLU()),
    *(nn.GELU(), nn.GELU("tanh"), nn.Softplus(), nn.Softplus(2.0, 3.0), nn.LogSigmoid(), nn.Mish()),
    *(nn.Softsign(), nn.Tanhshrink(), nn.Softshrink(0.3), nn.Hardshrink(0.3), nn.Hardtanh(-0.4, 0.8)),
    *(nn.ReLU6(), nn.Hardsigmoid(), nn.Hardswish(), nn.Softmax(-1), nn.LogSoftmax(0)),
]


FUNCTIONS = {
    "arithmetic": lambda x: (x + 2) * 3 - x / 4 + 1 / (x * x + 1) - (2 - x) + -x,
    "pairs": lambda x: x * rv.sigmoid(x) + x / (x * x + 1) - rv.maximum(x, -x) * rv.minimum(x, x * 2),
    "functions": lambda x: (
        rv.exp(x) + rv.log(x * x + 1) + rv.sqrt(x * x + 1) + rv.abs(x) + rv.sin(x) + rv.cos(x)
    ),
    "glu": rv.nn.functional.glu,
    "broadcast": lambda x: x * x[:, :1] + x[:1] - x[0, 1] + x[1],
    "views": lambda x: rv.cat([x[:, ::2], rv.flip(x, [1])[:, 1:], x[:, -1:]], 1).transpose(0, 1) * 2,
    "reshape": lambda x: x.reshape(2, 2, 6).permute(2, 0, 1).flatten(1) + 1,
    "sums": lambda x: x.sum(0) + x.mean(0) - x.mean() + x.reshape(2, 2, 6).sum((0, 2)).sum(),
    "one part of the input": lambda x: x[1],
    "the input": lambda x: x,
    "pad": lambda x: F.pad(x, (1, 2, 0, 1), value=0.5),
    "expand": lambda x: x[:, None, :].expand(4, 3, 6) * 1.5,
    "matmul": lambda x: x @ x.transpose(0, 1) + x.reshape(2, 2, 6).matmul(x.reshape(2, 6, 2)).sum(),
    "clip": lambda x: rv.clamp(x, -0.5, 0.5) + x**2 + x**3,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operations(tmp_path, name):
    require_equal(Of(FUNCTIONS[name]), tmp_path, numbers(4, 6), terms=24)


def test_cnn(tmp_path):
    model = nn.Sequential(
        *(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 4, 3, stride=2, padding=1, groups=2), nn.GroupNorm(2, 4), nn.GELU()),
        *(nn.AvgPool2d(2), nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 5), nn.LogSoftmax(-1)),
    )
    require_equal(model, tmp_path, numbers(2, 2, 16, 16))


IMAGES = {
    "conv2d": nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(2, 1)),
    "conv2d same": nn.Conv2d(3, 4, (2, 3), padding="same", bias=False),
    "conv1d": nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 5, 4, stride=3, padding=2)),
    "depthwise": nn.Conv2d(3, 6, 3, groups=3),
    "max_pool": nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "max_pool dilated": nn.MaxPool2d((2, 3), (1, 2), dilation=(2, 1)),
    "avg_pool": nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "avg_pool without padding": nn.AvgPool2d((3, 2), (2, 1), (1, 1), count_include_pad=False),
    "adaptive": nn.Sequential(nn.AdaptiveAvgPool2d((4, 2)), nn.AdaptiveMaxPool2d(1)),
    "instance_norm": nn.InstanceNorm2d(3, affine=True),
    "rms_norm": nn.RMSNorm(6),
    "batch_norm without weights": nn.BatchNorm2d(3, affine=False),
}


@pytest.mark.parametrize("name", IMAGES)
def test_layers_of_images(tmp_path, name):
    require_equal(IMAGES[name], tmp_path, numbers(2, 3, 8, 6))


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True, "bias": False}]
)
def test_recurrent_layers(tmp_path, kind, options):
    model = Of(lambda layer, x: layer(x)[0], kind(3, 5, **options))
    require_equal(model, tmp_path, numbers(6, 2, 3))


def test_last_states(tmp_path):
    def both(layer, x):
        y, (h, c) = layer(x)
        return rv.cat([h[0], c[0], y[-1]], 1)

    require_equal(Of(both, nn.LSTM(3, 4)), tmp_path, numbers(5, 2, 3))


def test_embedding_and_residual(tmp_path):
    def forward(embed, linear, index, x):
        h = embed(index).mean(1)
        return h + F.relu(linear(rv.cat([h, x], 1)))

    index = np.array([[1, 2, 0], [6, 6, 3]])
    compiled = require_equal(Of(forward, nn.Embedding(7, 4), nn.Linear(6, 4)), tmp_path, index, numbers(2, 2))
    assert "const int32_t *" in compiled.text


def test_a_part_of_a_larger_network_shares_weights(tmp_path):
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer, nn.Dropout(0.5), layer)
    assert require_equal(model, tmp_path, numbers(2, 4)).report.weights == 4 * 20


@pytest.mark.parametrize("seed", range(4))
def test_random_networks(tmp_path, seed):
    random = np.random.default_rng(seed)
    width, layers = int(random.integers(1, 9)), []
    size = width
    for _ in range(int(random.integers(1, 7))):
        out = int(random.integers(1, 9))
        activation = ACTIVATIONS[int(random.integers(len(ACTIVATIONS) - 1))]
        layers += [nn.Linear(size, out, bias=bool(random.integers(2))), activation]
        size = out
    require_equal(nn.Sequential(*layers), tmp_path, numbers(int(random.integers(1, 4)), width, seed=seed))


def test_separate_weights(tmp_path):
    model = nn.Linear(3, 2)
    compiled = Compiled(tmp_path, model, rv.zeros(1, 3), separate_weights=True)
    x = numbers(1, 3)
    np.testing.assert_allclose(
        compiled.predict(x, shape=(1, 2)), model(rv.tensor(x)).detach().numpy(), rtol=1e-6
    )
    assert "0." not in compiled.text.split("static")[0]
    assert (tmp_path / "net_weights.c").exists()
