"""Settings of the library's layers and losses, changed between two calls: training and inference."""

from collections.abc import Callable
from typing import Any

import numpy as np
import ranvier as rv
from program.staleness.judge import Case, add
from ranvier import nn, optim

ROWS, SIGNAL, IMAGE = (4, 6), (2, 4, 8), (2, 4, 6, 6)
WORDS = "words"  # integers

# name: (a layer, shape of its input, attribute, three values that it gets)
TABLE: list[tuple[str, Callable[[], Any], Any, str, tuple[Any, ...] | None]] = [
    ("dropout_p", lambda: nn.Dropout(0.5), ROWS, "p", (0.1, 0.0, 0.5)),
    ("dropout_p_one", lambda: nn.Dropout(0.5), ROWS, "p", (1.0, 0.5, 0.9)),
    ("dropout1d_p", lambda: nn.Dropout1d(0.5), SIGNAL, "p", (0.1, 0.0, 0.5)),
    ("dropout2d_p", lambda: nn.Dropout2d(0.5), IMAGE, "p", (0.1, 0.0, 0.5)),
    ("alpha_dropout_p", lambda: nn.AlphaDropout(0.5), ROWS, "p", (0.1, 0.0, 0.5)),
    ("leaky_relu", lambda: nn.LeakyReLU(0.1), ROWS, "negative_slope", (0.2, 0.0, 0.5)),
    ("elu", lambda: nn.ELU(), ROWS, "alpha", (2.0, 1.0, 0.5)),
    ("celu", lambda: nn.CELU(), ROWS, "alpha", (2.0, 1.0, 0.5)),
    ("hardtanh_min", lambda: nn.Hardtanh(), ROWS, "min_val", (-0.5, -1.0, -0.1)),
    ("hardtanh_max", lambda: nn.Hardtanh(), ROWS, "max_val", (0.5, 1.0, 0.1)),
    ("hardshrink", lambda: nn.Hardshrink(), ROWS, "lambd", (0.2, 0.5, 0.9)),
    ("softshrink", lambda: nn.Softshrink(), ROWS, "lambd", (0.2, 0.5, 0.9)),
    ("softplus_beta", lambda: nn.Softplus(), ROWS, "beta", (2.0, 1.0, 0.5)),
    ("softplus_threshold", lambda: nn.Softplus(), ROWS, "threshold", (0.1, 20.0, 0.5)),
    ("gelu", lambda: nn.GELU(), ROWS, "approximate", ("tanh", "none", "tanh")),
    ("glu", lambda: nn.GLU(), (4, 6), "dim", (0, 1, 0)),
    ("softmax", lambda: nn.Softmax(-1), ROWS, "dim", (0, 1, 0)),
    ("softmin", lambda: nn.Softmin(-1), ROWS, "dim", (0, 1, 0)),
    ("log_softmax", lambda: nn.LogSoftmax(-1), ROWS, "dim", (0, 1, 0)),
    ("flatten_start", lambda: nn.Flatten(), IMAGE, "start_dim", (2, 0, 1)),
    ("flatten_end", lambda: nn.Flatten(), IMAGE, "end_dim", (2, 3, 1)),
    ("unflatten", lambda: nn.Unflatten(1, (2, 3)), ROWS, "unflattened_size", ((3, 2), (6,), (2, 3))),
    ("layer_norm_eps", lambda: nn.LayerNorm(6), ROWS, "eps", (1e-2, 1e-5, 1.0)),
    ("rms_norm_eps", lambda: nn.RMSNorm(6, eps=1e-5), ROWS, "eps", (1e-2, None, 1.0)),
    ("group_norm_eps", lambda: nn.GroupNorm(2, 4), SIGNAL, "eps", (1e-2, 1e-5, 1.0)),
    ("group_norm_groups", lambda: nn.GroupNorm(2, 4), SIGNAL, "num_groups", (4, 1, 2)),
    ("batch_norm_eps", lambda: nn.BatchNorm1d(6), ROWS, "eps", (1e-2, 1e-5, 1.0)),
    ("batch_norm_momentum", lambda: nn.BatchNorm1d(6), ROWS, "momentum", (0.5, 0.1, 0.0)),
    ("batch_norm_no_momentum", lambda: nn.BatchNorm1d(6), ROWS, "momentum", (None, 0.1, None)),
    ("batch_norm_track", lambda: nn.BatchNorm1d(6), ROWS, "track_running_stats", (False, True, False)),
    ("batch_norm_training", lambda: nn.BatchNorm1d(6), ROWS, "training", (False, True, False)),
    ("batch_norm2d_eps", lambda: nn.BatchNorm2d(4), IMAGE, "eps", (1e-2, 1e-5, 1.0)),
    ("batch_norm2d_momentum", lambda: nn.BatchNorm2d(4), IMAGE, "momentum", (0.5, 0.1, 0.0)),
    ("instance_norm_eps", lambda: nn.InstanceNorm1d(4), SIGNAL, "eps", (1e-2, 1e-5, 1.0)),
    ("instance_norm2d_eps", lambda: nn.InstanceNorm2d(4), IMAGE, "eps", (1e-2, 1e-5, 1.0)),
    ("conv1d_stride", lambda: nn.Conv1d(4, 2, 3), SIGNAL, "stride", ((2,), (1,), (3,))),
    ("conv1d_padding", lambda: nn.Conv1d(4, 2, 3), SIGNAL, "padding", ((1,), (2,), (0,))),
    ("conv1d_dilation", lambda: nn.Conv1d(4, 2, 3), SIGNAL, "dilation", ((2,), (1,), (2,))),
    ("conv2d_stride", lambda: nn.Conv2d(4, 2, 3), IMAGE, "stride", ((2, 2), (1, 2), (1, 1))),
    ("conv2d_padding", lambda: nn.Conv2d(4, 2, 3), IMAGE, "padding", ((1, 1), "same", (0, 0))),
    ("conv2d_dilation", lambda: nn.Conv2d(4, 2, 3), IMAGE, "dilation", ((2, 2), (1, 2), (1, 1))),
    (
        "conv2d_padding_mode",
        lambda: nn.Conv2d(4, 2, 3, padding=1),
        IMAGE,
        "padding_mode",
        ("reflect", "zeros", "replicate"),
    ),
    ("conv_transpose1d", lambda: nn.ConvTranspose1d(4, 2, 3), SIGNAL, "stride", ((2,), (1,), (3,))),
    ("conv_transpose2d", lambda: nn.ConvTranspose2d(4, 2, 3), IMAGE, "stride", ((2, 2), (1, 1), (1, 2))),
    (
        "conv_transpose2d_output_padding",
        lambda: nn.ConvTranspose2d(4, 2, 3, stride=2),
        IMAGE,
        "output_padding",
        ((1, 1), (0, 0), (0, 1)),
    ),
    ("max_pool1d", lambda: nn.MaxPool1d(2), SIGNAL, "kernel_size", None),
    ("max_pool2d_kernel", lambda: nn.MaxPool2d(2), IMAGE, "kernel_size", ((3, 3), (1, 2), (2, 2))),
    ("max_pool2d_stride", lambda: nn.MaxPool2d(2), IMAGE, "stride", ((1, 1), (3, 3), (2, 2))),
    ("max_pool2d_ceil", lambda: nn.MaxPool2d(4), IMAGE, "ceil_mode", (True, False, True)),
    ("avg_pool2d_kernel", lambda: nn.AvgPool2d(2), IMAGE, "kernel_size", ((3, 3), (1, 2), (2, 2))),
    (
        "avg_pool2d_count",
        lambda: nn.AvgPool2d(3, padding=1),
        IMAGE,
        "count_include_pad",
        (False, True, False),
    ),
    ("avg_pool2d_divisor", lambda: nn.AvgPool2d(2), IMAGE, "divisor_override", (3, 5, None)),
    ("adaptive_avg_pool2d", lambda: nn.AdaptiveAvgPool2d(2), IMAGE, "output_size", ((3, 3), (1, 1), (2, 2))),
    ("adaptive_max_pool2d", lambda: nn.AdaptiveMaxPool2d(2), IMAGE, "output_size", ((3, 3), (1, 1), (2, 2))),
    ("constant_pad_value", lambda: nn.ConstantPad1d(1, 1.0), SIGNAL, "value", (2.0, 0.0, 1.0)),
    ("constant_pad_size", lambda: nn.ConstantPad1d(1, 1.0), SIGNAL, "padding", None),
    ("upsample_size", lambda: nn.Upsample(size=(7, 7)), IMAGE, "size", ((9, 9), (12, 12), (7, 7))),
    ("upsample_mode", lambda: nn.Upsample(size=(7, 7)), IMAGE, "mode", ("bilinear", "nearest", "bilinear")),
    ("upsample_factor", lambda: nn.Upsample(scale_factor=2.0), IMAGE, "scale_factor", (3.0, 2.0, 1.5)),
    (
        "recurrent_dropout",
        lambda: Last(nn.LSTM(8, 3, 2, dropout=0.5)),
        SIGNAL,
        "dropout",
        (0.1, 0.0, 0.5),
    ),
    (
        "rnn_nonlinearity",
        lambda: Last(nn.RNN(8, 3)),
        SIGNAL,
        "mode",
        ("RNN_RELU", "RNN_TANH", "RNN_RELU"),
    ),
    ("gru_batch_first", lambda: Last(nn.GRU(8, 3)), SIGNAL, "batch_first", (True, False, True)),
    (
        "attention_dropout",
        lambda: Attends(nn.MultiheadAttention(8, 2, dropout=0.5)),
        SIGNAL,
        "dropout",
        (0.1, 0.0, 0.5),
    ),
    (
        "attention_batch_first",
        lambda: Attends(nn.MultiheadAttention(8, 2)),
        SIGNAL,
        "batch_first",
        (True, False, True),
    ),
    ("encoder_dropout", lambda: nn.TransformerEncoderLayer(8, 2, 8, dropout=0.5), SIGNAL, "dropout.p", None),
    ("cosine_dim", lambda: Pair(nn.CosineSimilarity(1)), ROWS, "dim", (0, 1, 0)),
    ("cosine_eps", lambda: Pair(nn.CosineSimilarity(1)), ROWS, "eps", (10.0, 1e-8, 20.0)),
    ("distance_p", lambda: Pair(nn.PairwiseDistance()), ROWS, "norm", (1.0, 3.0, 2.0)),
    ("mse_reduction", lambda: Pair(nn.MSELoss()), ROWS, "reduction", ("sum", "none", "mean")),
    ("l1_reduction", lambda: Pair(nn.L1Loss()), ROWS, "reduction", ("sum", "mean", "none")),
    ("smooth_l1_beta", lambda: Pair(nn.SmoothL1Loss()), ROWS, "beta", (0.5, 0.1, 1.0)),
    ("huber_delta", lambda: Pair(nn.HuberLoss()), ROWS, "delta", (0.5, 0.1, 1.0)),
    ("poisson_log", lambda: Pair(nn.PoissonNLLLoss()), ROWS, "log_input", None),
    (
        "cross_entropy_smoothing",
        lambda: OfLabels(nn.CrossEntropyLoss()),
        ROWS,
        "label_smoothing",
        (0.1, 0.3, 0.0),
    ),
    ("cross_entropy_ignore", lambda: OfLabels(nn.CrossEntropyLoss()), ROWS, "ignore_index", (1, 0, 2)),
    (
        "cross_entropy_reduction",
        lambda: OfLabels(nn.CrossEntropyLoss()),
        ROWS,
        "reduction",
        ("sum", "mean", "none"),
    ),
    ("nll_ignore", lambda: OfLabels(nn.NLLLoss()), ROWS, "ignore_index", (1, 0, 2)),
    ("focal_gamma", lambda: OfLabels(nn.FocalLoss()), ROWS, "gamma", (1.0, 0.0, 3.0)),
    ("multi_margin_margin", lambda: OfLabels(nn.MultiMarginLoss()), ROWS, "margin", (0.5, 2.0, 1.0)),
    (
        "cross_entropy_weight",
        lambda: OfLabels(nn.CrossEntropyLoss(weight=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0])),
        ROWS,
        "weight",
        None,
    ),
    ("hinge_margin", lambda: OfSigns(nn.HingeEmbeddingLoss()), ROWS, "margin", (0.5, 2.0, 1.0)),
    ("sigmoid_focal_alpha", lambda: OfSigns(nn.SigmoidFocalLoss()), ROWS, "alpha", (0.5, 0.75, 0.25)),
    ("embedding_padding", lambda: nn.Embedding(5, 3), WORDS, "padding_idx", (1, 2, None)),
    (
        "positional_batch_first",
        lambda: nn.SinusoidalPositionalEncoding(8, dropout=0.0),
        SIGNAL,
        "batch_first",
        None,
    ),
]

OTHERS: dict[str, Callable[[Any, int], Any]] = {  # changes that are more than one attribute
    "max_pool1d": lambda layer, n: vars(layer).update(nn.MaxPool1d(n + 1).__dict__),
    "constant_pad_size": lambda layer, n: vars(layer).update(nn.ConstantPad1d(n + 1, 1.0).__dict__),
    "encoder_dropout": lambda layer, n: [
        setattr(m, "p", 0.5 / (n + 1)) for m in layer.modules() if isinstance(m, nn.Dropout)
    ],
    "poisson_log": lambda layer, n: setattr(layer.layer, "full", n % 2 == 1),
    "cross_entropy_weight": lambda layer, n: setattr(
        layer.layer, "weight", rv.tensor([1.0 + n, 1, 1, 1, 1, 1])
    ),
    "positional_batch_first": lambda layer, n: setattr(layer, "batch_first", not layer.batch_first),
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


def setter(attribute, values):
    def change(layer, n):
        setattr(layer.layer if isinstance(layer, Wrapped) else layer, attribute, values[n - 1])

    return change


def inputs_of(shape):
    def inputs(number):
        rng = np.random.default_rng(number)
        if shape == WORDS:
            return (rv.tensor(rng.integers(0, 5, (4, 2))),)
        return (rv.tensor(rng.standard_normal(shape).astype(np.float32)),)

    return inputs


def training(layer_of, shape, change):
    def build():
        rv.manual_seed(3)
        layer = layer_of()
        w = nn.Parameter(rv.full((1,), 1.5))
        optimizer = optim.SGD([w, *layer.parameters()], lr=0.02)

        def step(x):
            optimizer.zero_grad()
            y = layer(x) * w if shape == WORDS else layer(x * w)
            loss = (y * y * 0.5 + y).sum()
            loss.backward()
            optimizer.step()
            return loss, y.detach() * 1.0

        return Case(step, lambda n: change(layer, n), [w, layer], inputs_of(shape))

    return build


def inference(layer_of, shape, change):
    """The layer in evaluation mode through rv.compile(model), without a tape."""

    def build(compile_step):
        rv.manual_seed(3)
        layer = layer_of().eval()
        fast = compile_step(layer)

        def call(x):
            with rv.no_grad():
                return fast(x)

        return Case(call, lambda n: change(layer, n), layer, inputs_of(shape))

    return build


NOT_IN_INFERENCE = ("dropout", "flatten", "track", "momentum", "padding_idx", "embedding_padding", "training")
for name, layer_of, shape, attribute, values in TABLE:
    change = OTHERS[name] if values is None else setter(attribute, values)
    add(f"settings/{name}", training(layer_of, shape, change))
    if not any(part in name for part in NOT_IN_INFERENCE):
        add(f"settings/{name}-inference", inference(layer_of, shape, change))
