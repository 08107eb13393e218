"""Samples of layers with parameters or settings; those of losses and activations are beside their ops."""

import numpy as np
from ranvier import nn

from samples.sample import call, fixed, op, refused


def images(x):
    return x(2, 4, 8, 8)


def sequences(x):
    return x(2, 4, 9)


@op
def Linear(x):
    yield call(nn.Linear(6, 3), x(4, 6))
    yield call(nn.Linear(6, 3, bias=False), x(2, 5, 6))
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


@op
def MaxPool2d(x):
    yield call(nn.MaxPool2d(3, 2, 1), images(x))
    yield call(nn.MaxPool2d((2, 3), dilation=2, ceil_mode=True), images(x))


@op
def AvgPool1d(x):
    yield call(nn.AvgPool1d(3, 2, 1), sequences(x))


@op
def AvgPool2d(x):
    yield call(nn.AvgPool2d(2), images(x))
    yield call(nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), images(x))


@op
def LPPool2d(x):
    yield call(nn.LPPool2d(2, 2), x(2, 4, 8, 8, low=0.1))


@op
def AdaptiveAvgPool1d(x):
    yield call(nn.AdaptiveAvgPool1d(4), sequences(x))


@op
def AdaptiveAvgPool2d(x):
    yield call(nn.AdaptiveAvgPool2d((3, None)), images(x))


@op
def AdaptiveMaxPool1d(x):
    yield call(nn.AdaptiveMaxPool1d(4), sequences(x))


@op
def AdaptiveMaxPool2d(x):
    yield call(nn.AdaptiveMaxPool2d((3, 5)), images(x))


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


@op
def UpsamplingNearest2d(x):
    yield call(nn.UpsamplingNearest2d(scale_factor=2), images(x))


@op
def UpsamplingBilinear2d(x):
    yield call(nn.UpsamplingBilinear2d(size=(5, 9)), images(x))


@op
def ConstantPad1d(x):
    yield call(nn.ConstantPad1d((1, 2), 3.5), sequences(x))


@op
def ConstantPad2d(x):
    yield call(nn.ConstantPad2d((1, 0, 2, 1), -1.0), images(x))


@op
def ZeroPad1d(x):
    yield call(nn.ZeroPad1d(2), sequences(x))


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


@op
def BatchNorm2d(x):
    yield call(nn.BatchNorm2d(4), images(x))
    yield call(nn.BatchNorm2d(4, affine=False, track_running_stats=False), images(x))


@op
def SyncBatchNorm(x):
    yield call(nn.SyncBatchNorm(4), images(x))


@op
def InstanceNorm1d(x):
    yield call(nn.InstanceNorm1d(4), sequences(x))


@op
def InstanceNorm2d(x):
    yield call(nn.InstanceNorm2d(4, affine=True), images(x))
    yield call(nn.InstanceNorm2d(4, affine=True, track_running_stats=True), images(x))


@op
def LayerNorm(x):
    yield call(nn.LayerNorm(6), x(4, 6))
    yield call(nn.LayerNorm((8, 8), bias=False), images(x))


@op
def GroupNorm(x):
    yield call(nn.GroupNorm(2, 4), images(x))
    yield call(nn.GroupNorm(2, 4, bias=False), images(x))


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
        PADDED, "gradient", "forward_mode"
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


@op(draws=True, inner=1.0)
def MultiheadAttention(x):
    yield call(nn.MultiheadAttention(6, 2), x(5, 3, 6), x(4, 3, 6), x(4, 3, 6))
    yield call(nn.MultiheadAttention(6, 3, 0.2, bias=False, kdim=5, vdim=4), x(5, 6), x(7, 5), x(7, 4))
    yield call(nn.MultiheadAttention(6, 2), x(5, 3, 6), x(4, 3, 6), x(4, 3, 6), attn_mask=fixed(x(5, 4)))


@op(draws=True, inner=1.0)
def TransformerEncoderLayer(x):
    yield call(nn.TransformerEncoderLayer(6, 2, 8), x(4, 3, 6))
    yield call(
        nn.TransformerEncoderLayer(6, 3, 8, 0.3, "gelu", batch_first=True, norm_first=True, bias=False),
        x(3, 4, 6),
    )


@op(draws=True, inner=1.0)
def TransformerDecoderLayer(x):
    yield call(nn.TransformerDecoderLayer(6, 2, 8), x(4, 3, 6), x(5, 3, 6))


@op(draws=True, inner=1.0)
def Transformer(x):
    yield call(nn.Transformer(6, 2, 1, 2, 8, 0.1, "gelu", batch_first=True), x(3, 4, 6), x(3, 5, 6))


@op
def RNN(x):
    yield call(nn.RNN(4, 5, 2, "relu"), x(3, 2, 4))
    yield call(nn.RNN(4, 5, bidirectional=True, bias=False), x(3, 2, 4))


@op
def LSTM(x):
    yield call(nn.LSTM(4, 5, batch_first=True), x(2, 3, 4))
    yield call(nn.LSTM(4, 5, 2, False, bidirectional=True), x(3, 2, 4))


@op
def GRU(x):
    yield call(nn.GRU(4, 5), x(3, 2, 4))


@op
def RNNCell(x):
    yield call(nn.RNNCell(4, 5), x(2, 4))


@op
def LSTMCell(x):
    yield call(nn.LSTMCell(4, 5, False), x(2, 4))


@op
def GRUCell(x):
    yield call(nn.GRUCell(4, 5), x(2, 4))
