"""Settings of the library's layers and losses, changed between two calls: training and inference.

Settings of each kind of value; `test_library_state.py` tests that a change of any attribute is noticed.
"""

from typing import Any

import numpy as np
import ranvier as rv
from compile.staleness.judge import Case, add
from compile.staleness.rows import function
from ranvier import nn, optim

ROWS, SIGNAL, IMAGE = (4, 6), (2, 4, 8), (2, 4, 6, 6)
WORDS = "words"  # integers
RATES = 0.1, 0.0, 0.5

# name: (a layer, shape of its input, attribute and the three values that it gets; or another change)
TABLE: dict[str, tuple[Any, ...]] = {
    "dropout_p_one": ("Dropout(0.5)", ROWS, "p", (1.0, 0.5, 0.9)),
    "alpha_dropout_p": ("AlphaDropout(0.5)", ROWS, "p", RATES),
    "leaky_relu": ("LeakyReLU(0.1)", ROWS, "negative_slope", (0.2, 0.0, 0.5)),
    "hardtanh_min": ("Hardtanh()", ROWS, "min_val", (-0.5, -1.0, -0.1)),
    "gelu": ("GELU()", ROWS, "approximate", ("tanh", "none", "tanh")),
    "glu": ("GLU()", (4, 6), "dim", (0, 1, 0)),
    "flatten_start": ("Flatten()", IMAGE, "start_dim", (2, 0, 1)),
    "unflatten": ("Unflatten(1, (2, 3))", ROWS, "unflattened_size", ((3, 2), (6,), (2, 3))),
    "rms_norm_eps": ("RMSNorm(6, eps=1e-05)", ROWS, "eps", (0.01, None, 1.0)),
    "group_norm_groups": ("GroupNorm(2, 4)", SIGNAL, "num_groups", (4, 1, 2)),
    "batch_norm_momentum": ("BatchNorm1d(6)", ROWS, "momentum", (0.5, 0.1, 0.0)),
    "batch_norm_no_momentum": ("BatchNorm1d(6)", ROWS, "momentum", (None, 0.1, None)),
    "batch_norm_track": ("BatchNorm1d(6)", ROWS, "track_running_stats", (False, True, False)),
    "batch_norm_training": ("BatchNorm1d(6)", ROWS, "training", (False, True, False)),
    "conv1d_stride": ("Conv1d(4, 2, 3)", SIGNAL, "stride", ((2,), (1,), (3,))),
    "conv2d_padding": ("Conv2d(4, 2, 3)", IMAGE, "padding", ((1, 1), "same", (0, 0))),
    "conv2d_padding_mode": (
        "Conv2d(4, 2, 3, padding=1)",
        IMAGE,
        "padding_mode",
        ("reflect", "zeros", "replicate"),
    ),
    "conv_transpose2d_output_padding": (
        "ConvTranspose2d(4, 2, 3, stride=2)",
        IMAGE,
        "output_padding",
        ((1, 1), (0, 0), (0, 1)),
    ),
    "max_pool1d": ("MaxPool1d(2)", SIGNAL, "vars(layer).update(vars(nn.MaxPool1d(n + 1)))"),
    "max_pool2d_ceil": ("MaxPool2d(4)", IMAGE, "ceil_mode", (True, False, True)),
    "avg_pool2d_divisor": ("AvgPool2d(2)", IMAGE, "divisor_override", (3, 5, None)),
    "upsample_mode": ("Upsample(size=(7, 7))", IMAGE, "mode", ("bilinear", "nearest", "bilinear")),
    "recurrent_dropout": ("Last(LSTM(8, 3, 2, dropout=0.5))", SIGNAL, "dropout", RATES),
    "rnn_nonlinearity": ("Last(RNN(8, 3))", SIGNAL, "mode", ("RNN_RELU", "RNN_TANH", "RNN_RELU")),
    "attention_dropout": ("Attends(MultiheadAttention(8, 2, dropout=0.5))", SIGNAL, "dropout", RATES),
    "encoder_dropout": (
        "TransformerEncoderLayer(8, 2, 8, dropout=0.5)",
        SIGNAL,
        "for m in layer.modules(): vars(m).update(p=0.5 / (n + 1)) if type(m) is nn.Dropout else 0",
    ),
    "cosine_dim": ("Pair(CosineSimilarity(1))", ROWS, "dim", (0, 1, 0)),
    "mse_reduction": ("Pair(MSELoss())", ROWS, "reduction", ("sum", "none", "mean")),
    "poisson_log": ("Pair(PoissonNLLLoss())", ROWS, "layer.layer.full = n % 2 == 1"),
    "cross_entropy_smoothing": ("OfLabels(CrossEntropyLoss())", ROWS, "label_smoothing", (0.1, 0.3, 0.0)),
    "cross_entropy_ignore": ("OfLabels(CrossEntropyLoss())", ROWS, "ignore_index", (1, 0, 2)),
    "cross_entropy_weight": (
        "OfLabels(CrossEntropyLoss(weight=[1.0] * 6))",
        ROWS,
        "layer.layer.weight = rv.tensor([1.0 + n, 1, 1, 1, 1, 1])",
    ),
    "hinge_margin": ("OfSigns(HingeEmbeddingLoss())", ROWS, "margin", (0.5, 2.0, 1.0)),
    "embedding_padding": ("Embedding(5, 3)", WORDS, "padding_idx", (1, 2, None)),
    "positional_batch_first": (
        "SinusoidalPositionalEncoding(8, dropout=0.0)",
        SIGNAL,
        "layer.batch_first = not layer.batch_first",
    ),
}


class Wrapped(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer


class Last(Wrapped):
    def forward(self, x):
        return self.layer(x)[0]


class Attends(Wrapped):
    def forward(self, x):
        return self.layer(x, x, x)[0]


class Pair(Wrapped):
    def forward(self, x):
        return self.layer(x, x.detach().flip(0).abs())


class OfLabels(Wrapped):
    def forward(self, x):
        return self.layer(x, rv.constant([0, 1, 2, 1]))


class OfSigns(Wrapped):
    def forward(self, x):
        return self.layer(x, (x.detach() > 0).float())


def changed(layer, n, how):
    """how: a text, or an attribute with its values."""
    if len(how) == 1:
        function("layer, n", how[0], {**globals()})(layer, n)
    else:
        setattr(layer.layer if isinstance(layer, Wrapped) else layer, how[0], how[1][n - 1])


def inputs_of(shape):
    def inputs(number):
        rng = np.random.default_rng(number)
        if shape == WORDS:
            return (rv.tensor(rng.integers(0, 5, (4, 2))),)
        return (rv.tensor(rng.standard_normal(shape).astype(np.float32)),)

    return inputs


def made(text):
    rv.manual_seed(3)
    return function("", text, {**vars(nn), **globals()})()


def training(text, shape, *how):
    def build():
        layer = made(text)
        w = nn.Parameter(rv.full((1,), 1.5))
        optimizer = optim.SGD([w, *layer.parameters()], lr=0.02)

        def step(x):
            optimizer.zero_grad()
            y = layer(x) * w if shape == WORDS else layer(x * w)
            loss = (y * y * 0.5 + y).sum()
            loss.backward()
            optimizer.step()
            return loss, y.detach() * 1.0

        return Case(step, lambda n: changed(layer, n, how), [w, layer], inputs_of(shape))

    return build


def inference(text, shape, *how):
    """The layer in evaluation mode through rv.compile(model), without a tape."""

    def build(compile_step):
        layer = made(text).eval()
        fast = rv.no_grad()(compile_step(layer))
        return Case(fast, lambda n: changed(layer, n, how), layer, inputs_of(shape))

    return build


NOT_IN_INFERENCE = ("dropout", "flatten", "track", "momentum", "padding_idx", "embedding_padding", "training")
for name, texts in TABLE.items():
    add(f"settings/{name}", training(*texts))
    if not any(part in name for part in NOT_IN_INFERENCE):
        add(f"settings/{name}-inference", inference(*texts))
