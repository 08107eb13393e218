"""Functions of nn.functional and nn.init that a program replaces are the ones that layers call."""

import contextlib
import subprocess
import sys

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn

X = rv.tensor(np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 6))
IMAGE = rv.tensor(np.linspace(-1, 1, 256, dtype=np.float32).reshape(1, 4, 8, 8))
SEQUENCE = rv.tensor(np.linspace(-1, 1, 48, dtype=np.float32).reshape(3, 2, 8))
LABELS = rv.tensor([0, 1, 2, 3])


@contextlib.contextmanager
def replaced(module, names, make):
    """A block in which make(name, function) stands in the place of functions of a module."""
    before = {name: getattr(module, name) for name in names}
    present = {name for name in names if name in vars(module)}
    for name, function in before.items():
        setattr(module, name, make(name, function))
    try:
        yield
    finally:
        for name, function in before.items():
            if name in present:
                setattr(module, name, function)
            else:
                delattr(module, name)


def counting(calls):
    def make(name, function):
        def counted(*args, **kwargs):
            calls.append(name)
            return function(*args, **kwargs)

        return counted

    return make


# a layer, its inputs, and the functions that it calls, as in PyTorch
CASES = [
    (lambda: nn.Linear(6, 3), (X,), "linear"),
    (lambda: nn.Bilinear(6, 6, 2), (X, X), "bilinear"),
    (lambda: nn.Conv2d(4, 2, 3), (IMAGE,), "conv2d"),
    (lambda: nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular"), (IMAGE,), "conv2d pad"),
    (lambda: nn.ConvTranspose2d(4, 2, 3), (IMAGE,), "conv_transpose2d"),
    (lambda: nn.Embedding(5, 3), (LABELS,), "embedding"),
    (lambda: nn.EmbeddingBag(5, 3), (LABELS[None],), "embedding_bag"),
    (lambda: nn.ReLU(), (X,), "relu"),
    (lambda: nn.GELU(), (X,), "gelu"),
    (lambda: nn.PReLU(), (X,), "prelu"),
    (lambda: nn.Softmax2d(), (IMAGE,), "softmax"),
    (lambda: nn.Sigmoid(), (X,), ""),  # PyTorch's layer calls torch.sigmoid
    (lambda: nn.Dropout(), (X,), "dropout"),
    (lambda: nn.BatchNorm2d(4), (IMAGE,), "batch_norm"),
    (lambda: nn.InstanceNorm2d(4), (IMAGE,), "instance_norm"),
    (lambda: nn.GroupNorm(2, 4), (IMAGE,), "group_norm"),
    (lambda: nn.LayerNorm(6), (X,), "layer_norm"),
    (lambda: nn.RMSNorm(6), (X,), "rms_norm"),
    (lambda: nn.LocalResponseNorm(2), (IMAGE,), "local_response_norm"),
    (lambda: nn.MaxPool2d(2), (IMAGE,), "max_pool2d"),
    (lambda: nn.AdaptiveAvgPool2d(1), (IMAGE,), "adaptive_avg_pool2d"),
    (lambda: nn.Upsample(scale_factor=2), (IMAGE,), "interpolate"),
    (lambda: nn.ReflectionPad2d(1), (IMAGE,), "pad"),
    (lambda: nn.PixelShuffle(2), (IMAGE,), "pixel_shuffle"),
    (lambda: nn.PairwiseDistance(), (X, X + 1), "pairwise_distance"),
    (lambda: nn.MSELoss(), (X, X + 1), "mse_loss"),
    (lambda: nn.BCEWithLogitsLoss(), (X, X * 0), "binary_cross_entropy_with_logits"),
    (lambda: nn.CrossEntropyLoss(label_smoothing=0.1), (X, LABELS), "cross_entropy"),
    (lambda: nn.PoissonNLLLoss(log_input=False), (X.abs() + 1, X.abs()), "poisson_nll_loss"),
    (lambda: nn.TripletMarginLoss(margin=2.0), (X, X + 1, X - 1), "triplet_margin_loss"),
    (lambda: nn.MultiheadAttention(8, 2), (SEQUENCE,) * 3, "linear softmax"),
    (lambda: nn.MultiheadAttention(8, 2, kdim=8, vdim=8), (SEQUENCE,) * 3, "linear softmax"),
]
NAMES = sorted({name for _, _, names in CASES for name in names.split()})


@pytest.mark.parametrize("case", CASES, ids=[f"{k}-{case[2]}" for k, case in enumerate(CASES)])
def test_layers_call_the_function_that_stands_in_functional(case):
    make, inputs, names = case
    rv.manual_seed(0)
    layer = make()
    rv.manual_seed(1)
    expected = layer(*inputs)
    calls = []
    with replaced(F, NAMES, counting(calls)):
        make()  # A call with an empty input, by which a layer checks its settings, is not seen.
        assert calls == []
        rv.manual_seed(1)
        got = layer(*inputs)
    assert sorted(set(calls)) == names.split()
    for a, b in zip(
        expected if isinstance(expected, tuple) else (expected,),
        got if isinstance(got, tuple) else (got,),
        strict=True,
    ):
        np.testing.assert_allclose(b.detach(), a.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mask", [None, "causal", "bool", "float"])
@pytest.mark.parametrize("need_weights", [False, True])
def test_attention_by_replaced_functions(mask, need_weights):
    """Where scaled_dot_product_attention or softmax is replaced, attention consists of functions."""
    rv.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, add_zero_attn=mask is None)
    hidden = rv.ones(3, 3, dtype=bool).triu(1)
    masks = {"bool": hidden, "float": hidden.float() * -2.0}
    settings = {"attn_mask": masks.get(mask), "is_causal": mask == "causal", "need_weights": need_weights}
    expected, weights = layer(SEQUENCE, SEQUENCE, SEQUENCE, **settings)
    calls = []
    name = "softmax" if need_weights else "scaled_dot_product_attention"
    with replaced(F, [name], counting(calls)):
        got, other = layer(SEQUENCE, SEQUENCE, SEQUENCE, **settings)
    assert calls == [name]
    np.testing.assert_allclose(got.detach(), expected.detach(), rtol=1e-5, atol=1e-6)
    assert (other is None) == (weights is None) == (not need_weights)
    if need_weights:
        np.testing.assert_allclose(other.detach(), weights.detach(), rtol=1e-5, atol=1e-6)


def test_a_replaced_batch_norm_gets_pytorchs_arguments():
    """It gets eight arguments; the layer counts the batches, and the momentum of the mean of all follows."""
    layer = nn.BatchNorm1d(6, momentum=None)
    seen = []

    def batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps):
        seen.append((training, momentum, eps))
        return input

    with replaced(F, ["batch_norm"], lambda name, function: batch_norm):
        layer(X)
        layer(X)
        layer.eval()(X)
    assert seen == [(True, 1.0, 1e-5), (True, 0.5, 1e-5), (False, 0.0, 1e-5)]
    assert layer.num_batches_tracked.item() == 2


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_a_replaced_gelu_gets_its_setting_by_keyword(approximate):
    seen = []

    def gelu(input, *, approximate="none"):
        seen.append(approximate)
        return input

    with replaced(F, ["gelu"], lambda name, function: gelu):
        assert nn.GELU(approximate)(X) is X
    assert seen == [approximate]


def test_a_replaced_multi_head_attention_forward():
    """It gets the arguments of PyTorch's function, with the sequence first."""
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    seen = []

    def forward(query, key, value, embed_dim_to_check, num_heads, *args, **kwargs):
        seen.append((tuple(query.shape), embed_dim_to_check, num_heads, len(args), sorted(kwargs)))
        return query * 2, None

    F.multi_head_attention_forward = forward
    try:
        y, weights = layer(SEQUENCE, SEQUENCE, SEQUENCE, need_weights=False)
    finally:
        del F.multi_head_attention_forward
    names = ["attn_mask", "average_attn_weights", "is_causal", "key_padding_mask", "need_weights", "training"]
    assert seen == [((2, 3, 8), 8, 2, 8, names)]
    np.testing.assert_array_equal(y, SEQUENCE * 2)
    assert weights is None


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: nn.Linear(3, 2), "kaiming_uniform_ uniform_"),
        (lambda: nn.Conv2d(1, 2, 3, bias=False), "kaiming_uniform_"),
        (lambda: nn.Embedding(3, 2), "normal_"),
        (lambda: nn.LayerNorm(3), "ones_ zeros_"),
        (lambda: nn.PReLU(), "constant_"),
        (lambda: nn.LSTM(3, 2), "uniform_"),
    ],
)
def test_layers_begin_with_the_functions_that_stand_in_init(make, names):
    calls = []
    every = ["constant_", "kaiming_uniform_", "normal_", "ones_", "uniform_", "xavier_uniform_", "zeros_"]
    with replaced(nn.init, every, counting(calls)):
        make()
    assert sorted(set(calls)) == names.split()


def test_linear_begins_within_pytorchs_bounds():
    layer = nn.Linear(16, 64)
    assert 0.2 < layer.weight.abs().max().item() <= 0.25
    assert layer.bias.abs().max().item() <= 0.25


def test_an_activation_is_chosen_by_its_present_name():
    with replaced(F, ["relu"], lambda name, function: lambda x: x * 0):
        layer = nn.TransformerEncoderLayer(8, 2, 16)
    np.testing.assert_array_equal(layer.activation(SEQUENCE), SEQUENCE * 0)


def test_in_place_of_pytorch():
    """There torch.nn.functional is the module in which layers look, also before it is imported."""
    code = """
import torch
from torch import nn
layer, loss = nn.Linear(3, 2), nn.MSELoss()
import torch.nn.functional as F
calls, linear, mse = [], F.linear, F.mse_loss
F.linear = lambda *args: calls.append("linear") or linear(*args)
F.mse_loss = lambda *args, **kwargs: calls.append("mse_loss") or mse(*args, **kwargs)
torch.nn.init.uniform_ = lambda tensor, a, b: calls.append("uniform_")
y = layer(torch.ones(1, 3))
loss(y, y)
nn.Linear(3, 2)
F.linear, F.mse_loss = linear, mse
layer(torch.ones(1, 3))
assert calls == ["linear", "mse_loss", "uniform_"], calls
assert F.conv3d is F.conv3d and "grid_sample" in dir(F)
"""
    subprocess.run([sys.executable, "-m", "ranvier.torch", "-c", code], check=True, capture_output=True)
