"""Each layer and loss of ``ranvier.nn`` with arguments, and the shapes of what it is called with.

A loss's target is a shape too, or ``classes(n, shape)`` for class indices, ``signs(shape)`` for -1 and 1,
``units(shape)`` for numbers between 0 and 1, ``maxima(shape)`` for the indices of a max pooling,
``integers(...)`` for the same integers each time.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from ranvier.ops.activation.table import TABLE
from reference.activation import SETTINGS

Array = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator], Array]


class Layer(NamedTuple):
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[Any, ...]  # shapes of float inputs, or functions that draw others

    def draw(self, rng: np.random.Generator) -> list[Array]:
        """The inputs, floats in float64."""
        return [x(rng) if callable(x) else rng.uniform(-2, 2, x) for x in self.inputs]

    def __call__(self, module: Any, *inputs: Any) -> Any:
        """What a module of this kind returns; the first where there are several (attention, its weights)."""
        y = module(*inputs)
        return y[0] if isinstance(y, tuple) else y

    def __str__(self) -> str:
        words = [*map(repr, self.args), *(f"{key}={value!r}" for key, value in self.kwargs.items())]
        return f"{self.name}({', '.join(words)})"

    __repr__ = __str__  # in the names of tests: without the addresses of functions


def classes(count: int, *shape: int) -> Draw:
    return lambda rng: rng.integers(0, count, shape)


def signs(*shape: int) -> Draw:
    return lambda rng: rng.choice([-1.0, 1.0], shape)


def units(*shape: int) -> Draw:
    return lambda rng: rng.uniform(0.05, 0.95, shape)


def integers(*values: Any) -> Draw:
    return lambda rng: np.array(values)


def maxima(*shape: int) -> Draw:
    """Indices as MaxPool1d(2) or MaxPool2d(2) returns them: one place in each window, flat in its channel."""

    def draw(rng: np.random.Generator) -> Array:
        columns = 2 * np.arange(shape[-1]) + rng.integers(0, 2, shape)
        if len(shape) == 3:
            return columns
        rows = 2 * np.arange(shape[2])[:, None] + rng.integers(0, 2, shape)
        return rows * 2 * shape[3] + columns

    return draw


def layer(name: str, *args: Any, of: Any = (4, 6), also: Any = None, **kwargs: Any) -> Layer:
    return Layer(name, args, kwargs, (of,) if also is None else (of, *also))


IMAGES, SEQUENCES = (2, 4, 8, 8), (2, 4, 9)
X = (4, 6)

LAYERS = [
    layer("Identity"),
    layer("Linear", 6, 3),
    layer("Linear", 6, 3, bias=False, of=(2, 5, 6)),
    layer("Bilinear", 6, 5, 3, also=((4, 5),)),
    layer("Bilinear", 6, 6, 2, bias=False, of=(2, 5, 6), also=((2, 5, 6),)),
    layer("Flatten", of=IMAGES),
    layer("Flatten", 0, 2, of=IMAGES),
    layer("Unflatten", 1, (2, 3)),
    layer("PixelShuffle", 2, of=IMAGES),
    layer("PixelUnshuffle", 2, of=IMAGES),
    layer("Unfold", 3, of=IMAGES),
    layer("Unfold", (3, 2), dilation=2, padding=1, stride=(1, 2), of=IMAGES),
    layer("Fold", (4, 5), (2, 3), of=(2, 12, 9)),
    layer("Fold", 7, 3, dilation=2, padding=1, stride=2, of=(2, 18, 9)),
    # convolutions
    layer("Conv1d", 4, 6, 3, of=SEQUENCES),
    layer("Conv1d", 4, 6, 3, 2, 1, 2, 2, False, of=SEQUENCES),
    layer("Conv2d", 4, 6, 3, of=IMAGES),
    layer("Conv2d", 4, 8, (3, 2), stride=(1, 2), padding=1, groups=4, of=IMAGES),
    layer("Conv2d", 4, 6, 3, padding="same", dilation=2, bias=False, of=IMAGES),
    layer("Conv2d", 4, 6, 3, padding=2, padding_mode="reflect", of=IMAGES),
    layer("ConvTranspose1d", 4, 6, 3, stride=2, padding=1, output_padding=1, of=SEQUENCES),
    layer("ConvTranspose2d", 4, 6, 3, of=IMAGES),
    layer("ConvTranspose2d", 4, 6, (3, 2), stride=2, padding=1, output_padding=1, groups=2, of=IMAGES),
    # pooling, sizes, borders
    layer("MaxPool1d", 2, of=SEQUENCES),
    layer("MaxPool2d", 3, 2, 1, of=IMAGES),
    layer("MaxPool2d", (2, 3), dilation=2, ceil_mode=True, of=IMAGES),
    layer("AvgPool1d", 3, 2, 1, of=SEQUENCES),
    layer("AvgPool2d", 2, of=IMAGES),
    layer("LPPool2d", 2, 2, of=IMAGES),
    layer("AvgPool2d", 3, stride=2, padding=1, count_include_pad=False, of=IMAGES),
    layer("AdaptiveAvgPool1d", 4, of=SEQUENCES),
    layer("AdaptiveAvgPool2d", (3, None), of=IMAGES),
    layer("AdaptiveMaxPool1d", 4, of=SEQUENCES),
    layer("AdaptiveMaxPool2d", (3, 5), of=IMAGES),
    layer("MaxUnpool1d", 2, of=(2, 4, 5), also=(maxima(2, 4, 5),)),
    layer("MaxUnpool2d", 2, of=(2, 4, 3, 5), also=(maxima(2, 4, 3, 5),)),
    layer("Upsample", scale_factor=2, of=IMAGES),
    layer("Upsample", size=(5, 11), mode="bilinear", align_corners=True, of=IMAGES),
    layer("UpsamplingNearest2d", scale_factor=2, of=IMAGES),
    layer("UpsamplingBilinear2d", size=(5, 9), of=IMAGES),
    layer("ConstantPad1d", (1, 2), 3.5, of=SEQUENCES),
    layer("ConstantPad2d", (1, 0, 2, 1), -1.0, of=IMAGES),
    layer("ZeroPad1d", 2, of=SEQUENCES),
    layer("ZeroPad2d", 2, of=IMAGES),
    layer("ReflectionPad1d", 2, of=SEQUENCES),
    layer("ReflectionPad2d", (1, 2, 3, 1), of=IMAGES),
    layer("ReplicationPad1d", (1, 2), of=SEQUENCES),
    layer("ReplicationPad2d", 2, of=IMAGES),
    layer("CircularPad1d", (1, 2), of=SEQUENCES),
    # norms, embedding, dropout
    layer("BatchNorm1d", 6),
    layer("BatchNorm1d", 4, eps=1e-3, momentum=None, of=SEQUENCES),
    layer("BatchNorm2d", 4, of=IMAGES),
    layer("SyncBatchNorm", 4, of=IMAGES),
    layer("BatchNorm2d", 4, affine=False, track_running_stats=False, of=IMAGES),
    layer("InstanceNorm1d", 4, of=SEQUENCES),
    layer("InstanceNorm2d", 4, affine=True, of=IMAGES),
    layer("InstanceNorm2d", 4, affine=True, track_running_stats=True, of=IMAGES),
    layer("LayerNorm", 6),
    layer("LayerNorm", (8, 8), bias=False, of=IMAGES),
    layer("GroupNorm", 2, 4, of=IMAGES),
    layer("GroupNorm", 2, 4, bias=False, of=IMAGES),
    layer("LocalResponseNorm", 3, alpha=0.5, of=IMAGES),
    layer("LocalResponseNorm", 2, 0.3, 0.5, 2.0, of=SEQUENCES),
    layer("RMSNorm", 6),
    layer("RMSNorm", 6, 1e-6, elementwise_affine=False),
    layer("Embedding", 7, 3, of=classes(7, 2, 5)),
    layer("Embedding", 7, 3, padding_idx=2, of=classes(7, 2, 5)),
    layer("CategoryEmbedding", 1, [4, 9], of=classes(4, 5, 3)),
    layer("EmbeddingBag", 7, 3, of=classes(7, 2, 5)),
    layer("EmbeddingBag", 7, 3, mode="max", of=classes(7, 2, 5)),
    layer("EmbeddingBag", 7, 3, mode="sum", padding_idx=2, of=classes(7, 9), also=(integers(0, 4, 6),)),
    layer("Dropout", 0.3),
    layer("Dropout2d", 0.3, of=IMAGES),
    layer("AlphaDropout", 0.3),
    # attention
    layer("MultiheadAttention", 6, 2, of=(5, 3, 6), also=((4, 3, 6), (4, 3, 6))),
    layer("MultiheadAttention", 6, 3, 0.2, bias=False, kdim=5, vdim=4, of=(5, 6), also=((7, 5), (7, 4))),
    layer("TransformerEncoderLayer", 6, 2, 8, of=(4, 3, 6)),
    layer(
        "TransformerEncoderLayer",
        6,
        3,
        8,
        0.3,
        "gelu",
        batch_first=True,
        norm_first=True,
        bias=False,
        of=(3, 4, 6),
    ),
    layer("TransformerDecoderLayer", 6, 2, 8, of=(4, 3, 6), also=((5, 3, 6),)),
    layer("Transformer", 6, 2, 1, 2, 8, 0.1, "gelu", batch_first=True, of=(3, 4, 6), also=((3, 5, 6),)),
    # recurrent
    layer("RNN", 4, 5, 2, "relu", of=(3, 2, 4)),
    layer("LSTM", 4, 5, batch_first=True, of=(2, 3, 4)),
    layer("LSTM", 4, 5, 2, False, bidirectional=True, of=(3, 2, 4)),
    layer("GRU", 4, 5, of=(3, 2, 4)),
    layer("RNNCell", 4, 5, of=(2, 4)),
    layer("LSTMCell", 4, 5, False, of=(2, 4)),
    layer("GRUCell", 4, 5, of=(2, 4)),
    # activations
    *(
        layer(row.layer, *settings)
        for name, row in TABLE.items()
        for settings in ((), *SETTINGS.get(name, ()))
    ),
    layer("GELU", "tanh"),
    layer("GLU"),
    layer("GLU", 1, of=IMAGES),
    layer("Heaviside"),
    layer("LogSoftmax", dim=1),
    layer("PReLU"),
    layer("PReLU", 4, 0.1, of=IMAGES),
    layer("RReLU", 0.1, 0.4),
    layer("Softmax", dim=0),
    layer("Softmax2d", of=IMAGES),
    layer("Threshold", 0.3, -0.5),
    # losses and distances
    layer("BCELoss", of=units(*X), also=(units(*X),)),
    layer("BCEWithLogitsLoss", reduction="sum", also=(units(*X),)),
    layer(
        "CTCLoss",
        blank=1,
        zero_infinity=True,
        of=(6, 2, 5),
        also=(integers([2, 0, 0], [4, 3, 2]), integers(6, 4), integers(3, 2)),
    ),
    layer("CosineSimilarity", also=(X,)),
    layer("CosineEmbeddingLoss", also=(X, signs(X[0]))),
    layer("CrossEntropyLoss", also=(classes(6, 4),)),
    layer("CrossEntropyLoss", ignore_index=2, label_smoothing=0.1, also=(classes(6, 4),)),
    layer("GaussianNLLLoss", also=(X, units(*X))),
    layer("HuberLoss", delta=0.6, also=(X,)),
    layer("KLDivLoss", reduction="batchmean", also=(units(*X),)),
    layer("L1Loss", also=(X,)),
    layer("MSELoss", reduction="none", also=(X,)),
    layer("MarginRankingLoss", 0.3, also=(X, signs(*X))),
    layer("NLLLoss", also=(classes(6, 4),)),
    layer("PairwiseDistance", 2.0, 1e-6, True, also=(X,)),
    layer("PoissonNLLLoss", also=(units(*X),)),
    layer("SmoothL1Loss", beta=0.5, also=(X,)),
    layer("TripletMarginLoss", also=(X, X)),
]
