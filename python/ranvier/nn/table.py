"""The list of all layers, by the module (file) that has them. A module is loaded at the first use of one of
its names.

LAYERS has the `__all__` of each module. `__getattr__` of nn/__init__.py reads MODULE_OF, that of
nn/functional.py LOSSES.
"""

from __future__ import annotations

_ROWS = {
    "activation.piecewise": """
        Hardshrink Hardsigmoid Hardswish Hardtanh Heaviside LeakyReLU PReLU ReLU ReLU6 Softshrink
    """,
    "activation.smooth": """
        CELU ELU GELU GLU LogSigmoid Mish SELU SiLU Sigmoid Softplus Softsign Tanh Tanhshrink
    """,
    "activation.softmax": "LogSoftmax Softmax Softmax2d Softmin",
    "attention": "MultiheadAttention",
    "key_value_cache": "KeyValueCache",
    "container": "ModuleDict ModuleList ParameterDict ParameterList Sequential",
    "conv": "Conv1d Conv2d ConvTranspose1d ConvTranspose2d",
    "distance": "CosineSimilarity PairwiseDistance",
    "dropout": "AlphaDropout Dropout Dropout1d Dropout2d FeatureAlphaDropout",
    "embedding": "CategoryEmbedding Embedding EmbeddingBag",
    "lazy": "LazyBatchNorm1d LazyBatchNorm2d LazyConv2d LazyLinear",
    "linear": "Linear",
    "loss.classes": "CrossEntropyLoss NLLLoss",
    "loss.elements": """
        BCELoss BCEWithLogitsLoss GaussianNLLLoss HuberLoss KLDivLoss L1Loss MSELoss PoissonNLLLoss
        SmoothL1Loss
    """,
    "loss.margins": "CosineEmbeddingLoss MarginRankingLoss TripletMarginLoss",
    "norm": "BatchNorm1d BatchNorm2d GroupNorm InstanceNorm1d InstanceNorm2d LayerNorm RMSNorm",
    "pooling": """
        AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveMaxPool1d AdaptiveMaxPool2d AvgPool1d AvgPool2d LPPool2d
        MaxPool1d MaxPool2d MaxUnpool1d MaxUnpool2d
    """,
    "rare": """
        Bilinear CTCLoss ChannelShuffle Fold HingeEmbeddingLoss LocalResponseNorm MultiLabelMarginLoss
        MultiLabelSoftMarginLoss MultiMarginLoss PixelShuffle PixelUnshuffle RReLU SoftMarginLoss Threshold
        TripletMarginWithDistanceLoss Unfold
    """,
    "recurrent": "GRU LSTM RNN",
    "recurrent_cell": "GRUCell LSTMCell RNNCell",
    "resample": """
        CircularPad1d ConstantPad1d ConstantPad2d ReflectionPad1d ReflectionPad2d ReplicationPad1d
        ReplicationPad2d Upsample UpsamplingBilinear2d UpsamplingNearest2d ZeroPad1d ZeroPad2d
    """,
    "reshape": "Flatten Identity Unflatten",
    "transformer": """
        Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer
    """,
}
# the losses of `nn.functional`: nn/loss/functional.py makes them
_LOSSES = """
    binary_cross_entropy binary_cross_entropy_with_logits cosine_embedding_loss cross_entropy
    gaussian_nll_loss huber_loss kl_div l1_loss margin_ranking_loss mse_loss nll_loss poisson_nll_loss
    smooth_l1_loss triplet_margin_loss
"""
LOSSES = frozenset(_LOSSES.split())
LAYERS = {module: names.split() for module, names in _ROWS.items()}
MODULE_OF = {name: module for module, names in LAYERS.items() for name in names}
