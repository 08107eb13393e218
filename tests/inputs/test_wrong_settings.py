"""Layers, optimizers, metrics, splits and files made with wrong settings: refused, never accepted in part."""

import inspect
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import data, metrics, nn, optim
from support.grouped import grouped
from support.wrong_input import WRONG_ATTRIBUTES, attempt, describe, never_right, wrong_arrays

LAYERS: dict[str, dict[str, Any]] = {
    "AdaptiveAvgPool2d": {"output_size": 2},
    "AvgPool2d": {"kernel_size": 2},
    "BatchNorm1d": {"num_features": 2},
    "BatchNorm2d": {"num_features": 2},
    "SyncBatchNorm": {"num_features": 2},
    "Conv1d": {"in_channels": 2, "out_channels": 4, "kernel_size": 3},
    "Conv2d": {"in_channels": 2, "out_channels": 4, "kernel_size": 3},
    "ConvTranspose1d": {"in_channels": 2, "out_channels": 4, "kernel_size": 3},
    "ConvTranspose2d": {"in_channels": 2, "out_channels": 4, "kernel_size": 3},
    "GLU": {"dim": 0},
    "Embedding": {"num_embeddings": 3, "embedding_dim": 2},
    "GroupNorm": {"num_groups": 1, "num_channels": 3},
    "InstanceNorm1d": {"num_features": 2},
    "InstanceNorm2d": {"num_features": 2},
    "LayerNorm": {"normalized_shape": 3},
    "MultiheadAttention": {"embed_dim": 3, "num_heads": 1},
    "TransformerDecoderLayer": {"d_model": 3, "nhead": 1, "dim_feedforward": 4},
    "TransformerEncoderLayer": {"d_model": 3, "nhead": 1, "dim_feedforward": 4},
    "Linear": {"in_features": 3, "out_features": 2},
    "MaxPool2d": {"kernel_size": 2},
    **{
        name: {"input_size": 3, "hidden_size": 2}
        for name in ("GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell")
    },
    "RMSNorm": {"normalized_shape": 3},
    "Unflatten": {"dim": 1, "unflattened_size": (1, 3)},
    "AdaptiveAvgPool1d": {"output_size": 2},
    "AdaptiveMaxPool1d": {"output_size": 2},
    "AdaptiveMaxPool2d": {"output_size": 2},
    "AvgPool1d": {"kernel_size": 2},
    "LPPool2d": {"norm_type": 2.0, "kernel_size": 2},
    "MaxPool1d": {"kernel_size": 2},
    "ConstantPad1d": {"padding": 1, "value": 0.5},
    "ConstantPad2d": {"padding": 1, "value": 0.5},
    "CircularPad1d": {"padding": 1},
    "ReflectionPad1d": {"padding": 1},
    "ReflectionPad2d": {"padding": 1},
    "ReplicationPad1d": {"padding": 1},
    "ReplicationPad2d": {"padding": 1},
    "ZeroPad1d": {"padding": 1},
    "ZeroPad2d": {"padding": 1},
    "Upsample": {"scale_factor": 2.0},
    "UpsamplingBilinear2d": {"scale_factor": 2.0},
    "UpsamplingNearest2d": {"scale_factor": 2.0},
    "Bilinear": {"in1_features": 3, "in2_features": 4, "out_features": 2},
    "CategoryEmbedding": {"numbers": 1, "categories": [3]},
    "EmbeddingBag": {"num_embeddings": 3, "embedding_dim": 2},
    "Fold": {"output_size": 3, "kernel_size": 2},
    "LocalResponseNorm": {"size": 2},
    "MaxUnpool1d": {"kernel_size": 2},
    "MaxUnpool2d": {"kernel_size": 2},
    "PixelShuffle": {"upscale_factor": 2},
    "PixelUnshuffle": {"downscale_factor": 2},
    "Threshold": {"threshold": 0.1, "value": 2.0},
    "Unfold": {"kernel_size": 2},
}
INPUTS: dict[str, list[Any]] = {
    "Bilinear": [rv.ones(2, 3), rv.ones(2, 4)],
    "CategoryEmbedding": [rv.tensor([[0.5, 2.0], [1.0, 0.0]])],
    "EmbeddingBag": [rv.tensor([[2, 0], [1, 0]])],
    "Fold": [rv.ones(1, 4, 4)],
    "LocalResponseNorm": [rv.ones(1, 4, 2)],
    "MaxUnpool1d": [rv.ones(1, 1, 2), rv.tensor([[[0, 3]]])],
    "MaxUnpool2d": [rv.ones(1, 1, 1, 1), rv.tensor([[[[3]]]])],
    "PixelShuffle": [rv.ones(1, 4, 2, 2)],
    "PixelUnshuffle": [rv.ones(1, 1, 2, 2)],
    "SyncBatchNorm": [rv.ones(2, 2)],
    "Unfold": [rv.ones(1, 1, 3, 3)],
}
NO_SETTINGS = {"Module", "ModuleDict", "ModuleList", "Parameter", "Sequential", "functional", "init", "utils"}
NO_SETTINGS |= {
    "Buffer",
    "Identity",
    "ParameterDict",
    "ParameterList",
}  # takes anything, as in PyTorch, or holds parts
# make as many copies as they are told, 2**31 too
NO_SETTINGS |= {"Transformer", "TransformerDecoder", "TransformerEncoder"}
# pass their arguments on to other layers, which are tested, or hold any module
NO_SETTINGS |= {name for name in nn.__all__ if name.startswith("Lazy")} | {"DataParallel"}
NO_SETTINGS |= {"KeyValueCache"}  # is not called: tests/nn/test_generation.py
CLASSES = sorted(set(nn.__all__) - NO_SETTINGS)
OPTIMIZERS = ["SGD", "RMSprop", "Adam", "AdamW"]
METRICS = sorted(metrics.METRICS)
TWO_ARRAYS = {"CosineSimilarity", "PairwiseDistance"}
THREE_ARRAYS = {"GaussianNLLLoss", "MarginRankingLoss", "TripletMarginLoss"}
# without a greatest norm, running statistics, parameters or a factor
IGNORED = {("Upsample", "recompute_scale_factor")}
IGNORED |= {(f"InstanceNorm{d}d", key) for d in (1, 2) for key in ("momentum", "dtype", "num_features")}


@grouped("name", CLASSES)
def test_layers(name: str) -> None:
    """What is never right is refused when a layer is made, what does not fit its input when it is called."""
    make, right = getattr(nn, name), LAYERS.get(name, {})
    shape = (2, 2, 5, 5) if name.endswith("2d") else (2, 3)
    shape = (2, 2, 5) if name.endswith(("1d", "Upsample")) else shape
    arrays = [rv.rand(*shape)] * (1 + name.endswith("Loss") + (name in THREE_ARRAYS))
    arrays += arrays[: name in TWO_ARRAYS]
    arrays *= {"MultiheadAttention": 3, "TransformerDecoderLayer": 2}.get(name, 1)
    if name == "NLLLoss":
        arrays[1] = rv.tensor([2, 0])
    if name == "Embedding":
        arrays = [rv.tensor([[2, 0], [1, 0]])]
    arrays = INPUTS.get(name, arrays)
    make(**right)(*arrays)
    for key, parameter in inspect.signature(make).parameters.items():
        if key in ("size_average", "reduce"):  # True is right, with a warning: tests/nn/test_loss.py
            continue
        for wrong in WRONG_ATTRIBUTES:
            what = f"{name}({key}={describe(wrong)})"
            known = right.get(key, parameter.default) if key != "scale_factor" else None  # one for each axis
            never = never_right(wrong, known) and (name, key) not in IGNORED
            layer = attempt(lambda k=key, w=wrong: make(**{**right, k: w}), what, False, never)
            attempt(lambda made=layer: made and made(*arrays), what, False)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Softshrink", {"lambd": -1}),
        ("Hardtanh", {"min_val": 2.0}),
        ("GELU", {"approximate": "erf"}),
        ("Softmax", {"dim": 8}),
        ("HuberLoss", {"delta": 0}),
        ("MSELoss", {"reduction": "average"}),
        ("KLDivLoss", {"reduction": "batch"}),
        ("CrossEntropyLoss", {"label_smoothing": 2}),
        ("TripletMarginLoss", {"p": 0}),
        ("BCEWithLogitsLoss", {"weight": [1.0, 2.0], "pos_weight": [1.0, 2.0, 3.0]}),
        ("BatchNorm2d", {"num_features": 2, "momentum": 2}),
        ("InstanceNorm1d", {"num_features": 2, "eps": -1}),
        ("LayerNorm", {"normalized_shape": 2, "eps": -1}),
        ("TransformerEncoderLayer", {"d_model": 4, "nhead": 2, "layer_norm_eps": -1}),
        ("MaxPool2d", {"kernel_size": 2, "padding": 2}),
        ("AvgPool2d", {"kernel_size": 2, "divisor_override": 0}),
        ("AdaptiveAvgPool2d", {"output_size": -1}),
        ("Upsample", {"scale_factor": 2, "mode": "cubic"}),
        ("Upsample", {}),
    ],
)
def test_settings_out_of_range_are_refused_when_the_layer_is_made(
    name: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"\[\w+\] got .*; expected "):
        getattr(nn, name)(**settings)


def test_settings_are_tried_without_a_trace() -> None:
    """No random number is drawn, no statistic counted; a subclass with its own forward is not run."""

    class Unfinished(nn.Softmax):
        def forward(self, x: Any) -> Any:
            raise AssertionError

    state = rv.get_rng_state()
    norm = nn.BatchNorm1d(2, dtype=rv.float64)
    assert (norm.training, norm.num_batches_tracked.item()) == (True, 0)
    Unfinished(1), nn.MaxPool2d(2), nn.CrossEntropyLoss([1.0, 2.0])
    assert rv.equal(rv.get_rng_state(), state)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str) -> None:
    make = getattr(optim, name)
    for key, parameter in list(inspect.signature(make).parameters.items())[1:]:
        for wrong in WRONG_ATTRIBUTES:

            def step(k: str = key, w: Any = wrong) -> None:
                p = rv.ones(3, requires_grad=True)
                (p * p).sum().backward()
                make([p], **{"lr": 0.1, k: w}).step()
                assert p.shape == (3,)

            attempt(step, f"{name}({key}={describe(wrong)})", False, never_right(wrong, parameter.default))
    for wrong in (None, 3, "text", [], [None], [np.ones(3)], [{}], [{"params": 3}], rv.ones(3)):
        attempt(lambda w=wrong: make(w, lr=0.1), f"{name}({describe(wrong)})", standard=False)


@pytest.mark.parametrize("name", METRICS)
def test_metrics(name: str) -> None:
    right = np.array([0, 1, 1])
    for wrong in wrong_arrays(right):
        for arguments in ((wrong, right), (right, wrong)):
            never = never_right(wrong, labels=True)
            attempt(lambda a=arguments: metrics.METRICS[name](*a), f"{name} {describe(wrong)}", False, never)


def test_data() -> None:
    x = np.arange(12.0).reshape(6, 2)
    for wrong in (*WRONG_ATTRIBUTES, *wrong_arrays(x)):
        for key in ("test_size", "train_size", "random_state", "stratify"):
            what = f"train_test_split({key}={describe(wrong)})"
            attempt(lambda k=key, w=wrong: data.train_test_split(x, **{k: w}), what, standard=False)
        for call in (
            lambda w=wrong: data.train_test_split(x, w),
            lambda w=wrong: data.one_hot(w),
            lambda w=wrong: data.Standardize().fit(w),
            lambda w=wrong: list(data.DataLoader(data.TensorDataset(x), batch_size=w)),
            lambda w=wrong: data.random_split(data.TensorDataset(x), w),
        ):
            attempt(call, f"{inspect.getsource(call).strip()} of {describe(wrong)}", standard=False)


def test_files(tmp_path: Any) -> None:
    model = nn.Linear(2, 2)
    for path in (tmp_path, tmp_path / "none" / "model.safetensors", tmp_path / "missing"):
        with pytest.raises(OSError, match=r"."):
            rv.load(path)
    for path in (tmp_path, tmp_path / "none" / "model.safetensors"):
        with pytest.raises(OSError, match=r"."):
            rv.save(model, path)
    for content in (b"", b"x", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"[]"):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(ValueError, match=r"."):
            rv.load(tmp_path / "bad")
    for wrong in (None, 3.5, [], object()):
        attempt(lambda w=wrong: rv.load(w), f"load({wrong})", standard=False)
        attempt(lambda w=wrong: rv.save(model, w), f"save({wrong})", standard=False)
        attempt(lambda w=wrong: rv.save(w, tmp_path / "x"), f"save {wrong}", standard=False)


NEGATIVE, NAN = rv.tensor(-1.0), np.array(np.nan)  # numbers as Tensors and arrays are checked as numbers are
PARTS, PROBS = [rv.ones(2, requires_grad=True)], rv.tensor([0.5, 0.5])
X, Y = rv.rand(2, 3), rv.rand(2, 3)
INVALID: dict[str, Any] = {
    "normal": lambda: rv.normal(rv.zeros(2), rv.tensor([-1.0, 1.0])),
    "normal nan": lambda: rv.normal(rv.zeros(2), rv.tensor([np.nan, 1.0])),
    "normal_": lambda: rv.zeros(2).normal_(0, NEGATIVE),
    "log_normal_": lambda: rv.zeros(2).log_normal_(0, NAN),
    "init.normal_": lambda: nn.init.normal_(rv.zeros(2), std=NEGATIVE),
    "bernoulli": lambda: rv.bernoulli(rv.zeros(2), 1.5),
    "gaussian_nll_loss": lambda: nn.functional.gaussian_nll_loss(X, Y, rv.tensor([[1.0, -1.0, 1.0]] * 2)),
    "triplet_margin_loss": lambda: nn.functional.triplet_margin_loss(X, Y, Y, margin=NEGATIVE),
    "dropout": lambda: nn.functional.dropout(X, rv.tensor([0.1, 0.2])),
    "softshrink": lambda: nn.functional.softshrink(X, NEGATIVE),
    "add": lambda: rv.add(X, Y, alpha=rv.ones(2)),
    **{f"{name} lr": lambda name=name: getattr(optim, name)(PARTS, lr=NEGATIVE) for name in OPTIMIZERS},
    "adam betas": lambda: optim.Adam(PARTS, betas=(NEGATIVE, 0.9)),
    "adam of two": lambda: optim.Adam(PARTS, betas=rv.tensor([0.1, 0.2])),
    "asgd lambd": lambda: optim.ASGD(PARTS, lambd=NAN),
    "sgd text": lambda: optim.SGD(PARTS, lr="0.1"),
    "StepLR": lambda: optim.lr_scheduler.StepLR(optim.SGD(PARTS, lr=0.1), 2, gamma=NAN),
    "MultiStepLR": lambda: optim.lr_scheduler.MultiStepLR(optim.SGD(PARTS, lr=0.1), {1, 2}),
    "MultiStepLR half": lambda: optim.lr_scheduler.MultiStepLR(optim.SGD(PARTS, lr=0.1), [1.5]),
    "CyclicLR": lambda: optim.lr_scheduler.CyclicLR(optim.SGD(PARTS, lr=0.1), 0.1, 0.5, NEGATIVE),
    "OneCycleLR": lambda: optim.lr_scheduler.OneCycleLR(optim.SGD(PARTS, momentum=0.9), 0.1, 9, div_factor=0),
    "clip_grad_norm_": lambda: nn.utils.clip_grad_norm_(PARTS, NEGATIVE),
    "clip_grad_value_": lambda: nn.utils.clip_grad_value_(PARTS, NAN),
    "Normal": lambda: rv.distributions.Normal(rv.zeros(2), rv.tensor([1.0, -1.0])),
    "Categorical": lambda: rv.distributions.Categorical(PROBS * NEGATIVE),
    "set": lambda: optim.Adam(set(PARTS)),
    "group": lambda: optim.Adam([{"params": set(PARTS)}]),
    "later group": lambda: optim.Adam([rv.ones(1)]).add_param_group({"params": frozenset(PARTS)}),
    "clip of a set": lambda: nn.utils.clip_grad_norm_(set(PARTS), 1.0),
    "vector of a set": lambda: nn.utils.parameters_to_vector(set(PARTS)),
}


@pytest.mark.parametrize("call", INVALID.values(), ids=INVALID)
def test_invalid_values_in_any_form_are_refused(call: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^\[\w+\] got .*; expected "):
        call()


def test_parameters_in_any_order_that_stays() -> None:
    named = {"a": rv.ones(1), "b": rv.ones(2)}
    for given in (named.values(), iter(named.values()), tuple(named.values()), named.items()):
        assert [p.shape for p in optim.Adam(given).param_groups[0]["params"]] == [(1,), (2,)]
