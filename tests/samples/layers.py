"""Samples of layers with parameters or settings; those of losses and activations are beside their ops."""

import numpy as np
from ranvier import nn
from reference import attention, recurrent

from samples.sample import call, fixed, op, refused


def images(x):
    return x(2, 4, 8, 8)


def sequences(x):
    return x(2, 4, 9)


@op
def Linear(x):
    yield call(nn.Linear(6, 3), x(4, 6))
    yield call(nn.Linear(6, 3, bias=False), x(2, 5, 6))
    yield call(nn.Linear(6, 3), x(0, 5, 6))
    yield refused(ValueError, "[linear] got", nn.Linear(6, 3), x(4, 5))


@op
def Bilinear(x):
    yield call(nn.Bilinear(6, 5, 3), x(4, 6), x(4, 5))
    yield call(nn.Bilinear(6, 6, 2, bias=False), x(2, 5, 6), x(2, 5, 6))


@op
def Identity(x):
    yield call(nn.Identity(), x(4, 6))


@op
def Sequential(x):
    yield call(nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2)), x(5, 6))
    for pool in (nn.MaxPool2d(2), nn.MaxPool2d(4, 4, 1), nn.MaxPool2d(2, 2, 0, 2)):
        yield call(nn.Sequential(nn.Conv2d(2, 3, 3), pool), x(2, 2, 7, 7)).without(
            "the gradient is at the maxima: others after rounding, and NaN goes nowhere else", "halves", "nan"
        )


@op
def Flatten(x):
    yield call(nn.Flatten(), images(x))
    yield call(nn.Flatten(0, 2), images(x))


@op
def Unflatten(x):
    yield call(nn.Unflatten(1, (2, 3)), x(4, 6))


@op
def PixelShuffle(x):
    yield call(nn.PixelShuffle(2), images(x))


@op
def PixelUnshuffle(x):
    yield call(nn.PixelUnshuffle(2), images(x))


@op
def Unfold(x):
    yield call(nn.Unfold(3), images(x))
    yield call(nn.Unfold((3, 2), dilation=2, padding=1, stride=(1, 2)), images(x))


@op
def Fold(x):
    yield call(nn.Fold((4, 5), (2, 3)), x(2, 12, 9))
    yield call(nn.Fold(7, 3, dilation=2, padding=1, stride=2), x(2, 18, 9))


@op
def Conv1d(x):
    yield call(nn.Conv1d(4, 6, 3), sequences(x))
    yield call(nn.Conv1d(4, 6, 3, 2, 1, 2, 2, False), sequences(x))


@op
def Conv2d(x):
    yield call(nn.Conv2d(4, 6, 3), images(x))
    yield call(nn.Conv2d(4, 8, (3, 2), stride=(1, 2), padding=1, groups=4), images(x))
    yield call(nn.Conv2d(4, 6, 3, padding="same", dilation=2, bias=False), images(x))
    yield call(nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect"), images(x))
    yield call(nn.Conv2d(4, 6, (3, 2), (2, 1), "valid", (1, 2), 2, bias=False), images(x))
    yield refused(ValueError, "[conv2d] got", nn.Conv2d(4, 6, 3), x(2, 3, 8, 8))


@op
def ConvTranspose1d(x):
    yield call(nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1, output_padding=1), sequences(x))


@op
def ConvTranspose2d(x):
    yield call(nn.ConvTranspose2d(4, 6, 3), images(x))
    yield call(nn.ConvTranspose2d(4, 6, (3, 2), stride=2, padding=1, output_padding=1, groups=2), images(x))


@op
def MaxPool1d(x):
    yield call(nn.MaxPool1d(2), sequences(x))
    yield call(nn.MaxPool1d(3, 2, 1), sequences(x))


@op
def MaxPool2d(x):
    yield call(nn.MaxPool2d(3, 2, 1), images(x))
    yield call(nn.MaxPool2d((2, 3), dilation=2, ceil_mode=True), images(x))
    yield call(nn.MaxPool2d((2, 1), dilation=2), images(x))


@op
def AvgPool1d(x):
    yield call(nn.AvgPool1d(3, 2, 1), sequences(x))
    yield call(nn.AvgPool1d(2, ceil_mode=True), sequences(x))


@op
def AvgPool2d(x):
    yield call(nn.AvgPool2d(2), images(x))
    yield call(nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), images(x))
    yield call(nn.AvgPool2d(2, ceil_mode=True), x(2, 3, 9, 7))


@op
def LPPool2d(x):
    yield call(nn.LPPool2d(2.0, 2), x(2, 4, 8, 8, low=0.1))


@op
def AdaptiveAvgPool1d(x):
    yield call(nn.AdaptiveAvgPool1d(4), sequences(x))


@op
def AdaptiveAvgPool2d(x):
    yield call(nn.AdaptiveAvgPool2d((3, None)), images(x))
    yield call(nn.AdaptiveAvgPool2d((None, 2)), images(x))


@op
def AdaptiveMaxPool1d(x):
    yield call(nn.AdaptiveMaxPool1d(4), sequences(x))


@op
def AdaptiveMaxPool2d(x):
    yield call(nn.AdaptiveMaxPool2d((3, 5)), images(x))
    yield call(nn.AdaptiveMaxPool2d((5, None)), images(x))


@op
def MaxUnpool1d(x):
    yield call(nn.MaxUnpool1d(2), x(2, 4, 3), np.tile(np.array([0, 3, 5]), (2, 4, 1)))


@op
def MaxUnpool2d(x):
    yield call(nn.MaxUnpool2d(2), x(1, 2, 2, 2), np.tile(np.array([[0, 3], [8, 15]]), (1, 2, 1, 1)))


@op
def Upsample(x):
    yield call(nn.Upsample(scale_factor=2), images(x))
    yield call(nn.Upsample(size=(5, 11), mode="bilinear", align_corners=True), images(x))
    yield call(nn.Upsample((7, 9), mode="bilinear"), images(x))
    yield call(nn.Upsample(None, (1.5, 2), "bicubic"), images(x))


@op
def UpsamplingNearest2d(x):
    yield call(nn.UpsamplingNearest2d(scale_factor=2), images(x))
    yield call(nn.UpsamplingNearest2d(size=8), x(2, 3, 9, 7))


@op
def UpsamplingBilinear2d(x):
    yield call(nn.UpsamplingBilinear2d(size=(5, 9)), images(x))
    yield call(nn.UpsamplingBilinear2d(None, 3), x(2, 3, 3, 4))


@op
def ConstantPad1d(x):
    yield call(nn.ConstantPad1d((1, 2), 3.5), sequences(x))


@op
def ConstantPad2d(x):
    yield call(nn.ConstantPad2d((1, 0, 2, 1), -1.0), images(x))


@op
def ZeroPad1d(x):
    yield call(nn.ZeroPad1d(2), sequences(x))
    yield call(nn.ZeroPad1d((0, 3)), sequences(x))


@op
def ZeroPad2d(x):
    yield call(nn.ZeroPad2d(2), images(x))


@op
def ReflectionPad1d(x):
    yield call(nn.ReflectionPad1d(2), sequences(x))


@op
def ReflectionPad2d(x):
    yield call(nn.ReflectionPad2d((1, 2, 3, 1)), images(x))


@op
def ReplicationPad1d(x):
    yield call(nn.ReplicationPad1d((1, 2)), sequences(x))


@op
def ReplicationPad2d(x):
    yield call(nn.ReplicationPad2d(2), images(x))


@op
def CircularPad1d(x):
    yield call(nn.CircularPad1d((1, 2)), sequences(x))


@op
def BatchNorm1d(x):
    yield call(nn.BatchNorm1d(6), x(5, 6))
    yield call(nn.BatchNorm1d(4, eps=1e-3, momentum=None), sequences(x))
    yield call(nn.BatchNorm1d(6).eval(), x(5, 6))
    for text, shape in (
        ("of shape (2, 3, 4, 4); expected 2 dimensions", (2, 3, 4, 4)),
        ("with 4 channels; expected num_features, 3", (2, 4)),
        ("of shape (1, 3) when training; expected more than 1", (1, 3)),
    ):
        yield refused(ValueError, f"[batch_norm] got x {text}", nn.BatchNorm1d(3), x(*shape))


@op
def BatchNorm2d(x):
    yield call(nn.BatchNorm2d(4), images(x))
    yield call(nn.BatchNorm2d(4, affine=False, track_running_stats=False), images(x))
    text = "[batch_norm] got x of shape (2, 3); expected 4 dimensions (N, C, H, W)"
    yield refused(ValueError, text, nn.BatchNorm2d(3), x(2, 3))


@op
def SyncBatchNorm(x):
    yield call(nn.SyncBatchNorm(4), images(x))


@op
def InstanceNorm1d(x):
    yield call(nn.InstanceNorm1d(4), sequences(x))
    text = "[instance_norm] got x of shape (2, 3, 1); expected"
    yield refused(ValueError, text, nn.InstanceNorm1d(3), x(2, 3, 1))


@op
def InstanceNorm2d(x):
    yield call(nn.InstanceNorm2d(4, affine=True), images(x))
    yield call(nn.InstanceNorm2d(4, affine=True, track_running_stats=True), images(x))
    yield call(nn.InstanceNorm2d(4, track_running_stats=True).eval(), images(x))


@op
def LayerNorm(x):
    yield call(nn.LayerNorm(6), x(4, 6))
    yield call(nn.LayerNorm((8, 8), bias=False), images(x))
    text = "[layer_norm] got x of shape (2, 4) and normalized_shape (3,); expected"
    yield refused(ValueError, text, nn.LayerNorm(3), x(2, 4))


@op
def GroupNorm(x):
    yield call(nn.GroupNorm(2, 4), images(x))
    yield call(nn.GroupNorm(2, 4, bias=False), images(x))
    text = "[group_norm] got x of shape (1, 4) in 4 groups; expected more than 1"
    yield refused(ValueError, text, nn.GroupNorm(4, 4), x(1, 4))


@op
def RMSNorm(x):
    yield call(nn.RMSNorm(6), x(4, 6))
    yield call(nn.RMSNorm(6, 1e-6, elementwise_affine=False), x(4, 6))


@op
def LocalResponseNorm(x):
    yield call(nn.LocalResponseNorm(3, alpha=0.5), images(x))
    yield call(nn.LocalResponseNorm(2, 0.3, 0.5, 2.0), sequences(x))


PADDED = "rows of padding have no gradient"


@op
def Embedding(x):
    yield call(nn.Embedding(7, 3), x.integers(0, 7, 2, 5))
    yield call(nn.Embedding(7, 3, padding_idx=2), x.integers(0, 7, 2, 5)).without(
        PADDED, "gradient", "forward_mode", "jet"
    )


@op
def CategoryEmbedding(x):
    yield call(nn.CategoryEmbedding(1, [4, 9]), fixed(x.integers(0, 4, 5, 3).astype(float)))


@op
def EmbeddingBag(x):
    yield call(nn.EmbeddingBag(7, 3), x.integers(0, 7, 2, 5))
    yield call(nn.EmbeddingBag(7, 3, mode="max"), x.integers(0, 7, 2, 5))
    yield call(nn.EmbeddingBag(7, 3, mode="sum", padding_idx=2), x.integers(0, 7, 9), np.array([0, 4, 6]))


@op(draws=True)
def Dropout(x):
    yield call(nn.Dropout(0.3), x(4, 6))
    yield call(nn.Dropout(0.3).eval(), x(4, 6))


@op(draws=True)
def Dropout2d(x):
    yield call(nn.Dropout2d(0.3), images(x))


@op(draws=True)
def AlphaDropout(x):
    yield call(nn.AlphaDropout(0.3), x(4, 6))


def many(*args, **settings):
    return 64


def numbers(module):
    """The parameters of a layer in float64."""
    return {name: value.numpy(force=True).astype(float) for name, value in module.state_dict().items()}


def attended(
    module,
    query,
    key,
    value,
    key_padding_mask=None,
    need_weights=True,
    attn_mask=None,
    average_attn_weights=True,
):
    """Attention of each head, and its weights. Keys that settings add are hidden by no mask."""
    p, heads, width = numbers(module), module.num_heads, module.head_dim
    whole = p.get("in_proj_weight")
    weights = (p[f"{name}_proj_weight"] for name in "qkv") if whole is None else np.split(whole, 3)
    biases = np.split(p.get("in_proj_bias", np.zeros(3 * heads * width)), 3)
    inputs = (query, key, value) if module.batch_first else (a.swapaxes(0, 1) for a in (query, key, value))
    q, k, v = (a @ w.T + b for a, w, b in zip(inputs, weights, biases, strict=True))
    shape = q.shape[:2]
    mask = np.zeros((len(k), 1, q.shape[1], k.shape[1]))
    each = attn_mask is not None and attn_mask.ndim == 3  # a mask of each sequence and head
    attn_mask = attn_mask.reshape(-1, heads, *attn_mask.shape[1:]) if each else attn_mask
    for hidden in (attn_mask, None if key_padding_mask is None else key_padding_mask[:, None, None]):
        if hidden is not None:
            mask = mask + (np.where(hidden, -np.inf, 0) if hidden.dtype == bool else hidden)
    if module.bias_k is not None:
        k, v = (
            np.append(a, np.broadcast_to(p[row], a[:, :1].shape), 1)
            for a, row in ((k, "bias_k"), (v, "bias_v"))
        )
    if module.add_zero_attn:
        k, v = (np.append(a, np.zeros_like(a[:, :1]), 1) for a in (k, v))
    mask = np.pad(mask, [(0, 0)] * 3 + [(0, k.shape[1] - mask.shape[-1])])
    q, k, v = (a.reshape(*a.shape[:2], heads, width).swapaxes(1, 2) for a in (q, k, v))
    weights = attention.weights(q, k, mask)
    y = (weights @ v).swapaxes(1, 2).reshape(*shape, heads * width)
    y = y @ p["out_proj.weight"].T + p.get("out_proj.bias", 0)
    y = y if module.batch_first else y.swapaxes(0, 1)
    return [y, weights.mean(1) if average_attn_weights else weights] if need_weights else y


@op(draws=True, inner=1.0, terms=many, reference=attended)
def MultiheadAttention(x):
    one, two, hidden = (5, 3, 6), (4, 3, 6), np.arange(4) >= np.array([[4], [2], [3]])
    yield call(nn.MultiheadAttention(6, 2), x(*one), x(*two), x(*two))
    yield call(
        nn.MultiheadAttention(6, 3, 0.2, bias=False, kdim=5, vdim=4), x(5, 6), x(7, 5), x(7, 4)
    ).without("draws", "reference")
    for mask in ((5, 4), (6, 5, 4)):
        yield call(nn.MultiheadAttention(6, 2), x(*one), x(*two), x(*two), attn_mask=x(*mask))
    yield call(nn.MultiheadAttention(6, 3, kdim=5, vdim=4), x(5, 3, 6), x(4, 3, 5), x(4, 3, 4), hidden)
    settings = {"average_attn_weights": False, "attn_mask": np.triu(np.ones((4, 4), bool), 1)}
    for shape, batch_first in (((4, 3, 6), False), ((3, 4, 6), True)):
        layer = nn.MultiheadAttention(6, 2, 0.0, False, True, True, batch_first=batch_first)
        yield call(layer, x(*shape), x(*shape), x(*shape), hidden, **settings)
    batch = x(3, 4, 6)
    yield call(nn.MultiheadAttention(6, 2, batch_first=True), batch, x(3, 4, 6), batch, None, False)
    for shape in ((0, 3, 6), (5, 0, 6)):
        yield call(nn.MultiheadAttention(6, 2), x(*shape), x(*shape), x(*shape))


@op(draws=True, inner=1.0)
def TransformerEncoderLayer(x):
    yield call(nn.TransformerEncoderLayer(6, 2, 8), x(4, 3, 6))
    yield call(nn.TransformerEncoderLayer(6, 2, 8, 0.0), x(4, 3, 6), is_causal=True).without(
        "PyTorch takes is_causal beside a mask", "pytorch"
    )
    yield call(
        nn.TransformerEncoderLayer(6, 3, 8, 0.3, "gelu", batch_first=True, norm_first=True, bias=False),
        x(3, 4, 6),
    )
    yield call(nn.TransformerEncoderLayer(6, 2, 8), x(0, 3, 6))
    yield call(nn.TransformerEncoderLayer(6, 2, 8), x(4, 0, 6))


@op(draws=True, inner=1.0)
def TransformerDecoderLayer(x):
    yield call(nn.TransformerDecoderLayer(6, 2, 8), x(4, 3, 6), x(5, 3, 6))
    yield call(nn.TransformerDecoderLayer(6, 2, 8), x(4, 0, 6), x(5, 0, 6))
    yield call(nn.TransformerDecoderLayer(6, 2, 8), x(0, 3, 6), x(0, 3, 6))


@op(draws=True, inner=1.0)
def Transformer(x):
    yield call(nn.Transformer(6, 2, 1, 2, 8, 0.1, "gelu", batch_first=True), x(3, 4, 6), x(3, 5, 6))


def run(module, x, states=None):
    """All layers and directions of a recurrent layer, step by step, or one step of a cell."""
    p, kind, is_cell = numbers(module), type(module).__name__, not hasattr(module, "num_layers")
    cell = f"rnn_{module.nonlinearity}" if kind.startswith("RNN") else kind.removesuffix("Cell").lower()
    x = x[None] if is_cell else x.swapaxes(0, 1) if module.batch_first else x
    (steps, n), count = x.shape[:2], 1 if is_cell else module.num_layers
    ends = ("",) if is_cell or not module.bidirectional else ("", "_reverse")
    none = np.zeros((count * len(ends), n, module.hidden_size))
    h0, c0 = states if isinstance(states, tuple) else (none if states is None else states, none)
    last = []
    for layer in range(count):
        ways = []
        for end in ends:
            names = [f"{name}_{part}" for name in ("weight", "bias") for part in ("ih", "hh")]
            given = [p.get(name if is_cell else f"{name}_l{layer}{end}", np.zeros(1)) for name in names]
            first = [s.reshape(none.shape)[len(last)] for s in (h0, c0)]
            rows = x.reshape(steps * n, -1)
            y, h, c, _ = recurrent.recurrent(cell, rows, *first, *given, np.full(steps, n), bool(end))
            ways.append(y.reshape(steps, n, -1))
            last.append((h, c))
        x = np.concatenate(ways, -1)
    h, c = (np.stack(s) for s in zip(*last, strict=True))
    if is_cell:
        return [h[0], c[0]] if cell == "lstm" else h[0]
    return [x.swapaxes(0, 1) if module.batch_first else x, h, *([c] if cell == "lstm" else [])]


@op(reference=run, terms=many)
def RNN(x):
    yield call(nn.RNN(4, 5, 2, "relu"), x(3, 2, 4), x(2, 2, 5))
    yield call(nn.RNN(4, 5, bidirectional=True), x(3, 2, 4), x(2, 2, 5))
    yield call(nn.RNN(4, 5, bidirectional=True, bias=False), x(3, 2, 4))


@op(reference=run, terms=many)
def LSTM(x):
    yield call(nn.LSTM(4, 5, batch_first=True), x(2, 3, 4))
    yield call(nn.LSTM(4, 5, 2, False, bidirectional=True), x(3, 2, 4), (x(4, 2, 5), x(4, 2, 5)))


@op(reference=run, terms=many)
def GRU(x):
    yield call(nn.GRU(4, 5), x(3, 2, 4))
    yield call(nn.GRU(4, 5, 2, bidirectional=True, batch_first=True), x(2, 3, 4), x(4, 2, 5))


@op(reference=run, terms=many)
def RNNCell(x):
    yield call(nn.RNNCell(4, 5), x(2, 4))
    yield call(nn.RNNCell(4, 5, nonlinearity="relu"), x(2, 4), x(2, 5))


@op(reference=run, terms=many)
def LSTMCell(x):
    yield call(nn.LSTMCell(4, 5, False), x(2, 4))
    yield call(nn.LSTMCell(4, 5), x(2, 4), (x(2, 5), x(2, 5)))


@op(reference=run, terms=many)
def GRUCell(x):
    yield call(nn.GRUCell(4, 5), x(2, 4))
    yield call(nn.GRUCell(4, 5), x(2, 4), x(2, 5))
