"""Layers, optimizers, metrics, splits and files made with wrong settings: refused, never accepted in part."""

import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import data, metrics, nn, optim
from ranvier.nn.arguments import arguments_of
from samples import layer_samples
from support.grouped import grouped
from support.optimizers import KINDS
from support.refused import refused
from support.wrong_input import WRONG_ATTRIBUTES, attempt, describe, never_right, wrong_arrays

# takes anything, as in PyTorch; make as many copies as they are told, 2**31 too
NO_SETTINGS = {"Identity", "Transformer", "TransformerDecoder", "TransformerEncoder"}
CLASSES = {type(sample.args[0]).__name__: sample for sample in reversed(layer_samples())}
METRICS = sorted(metrics.METRICS)
# without a greatest norm, running statistics, parameters or a factor; a tensor may stand there
IGNORED = {("Upsample", "recompute_scale_factor"), ("Heaviside", "values")}
IGNORED |= {(f"InstanceNorm{d}d", key) for d in (1, 2) for key in ("momentum", "dtype", "num_features")}


@grouped("name", sorted(CLASSES.keys() - NO_SETTINGS))
def test_layers(name: str) -> None:
    """Values that are never right are refused when a layer is made, others when they do not fit its input."""
    layer, *arrays = CLASSES[name].tensors(rv.float32, records=False).args
    make, right = type(layer), arguments_of(layer)
    for key, parameter in inspect.signature(make).parameters.items():
        if key in ("size_average", "reduce"):  # True is right, with a warning: tests/nn/test_loss.py
            continue
        for wrong in WRONG_ATTRIBUTES:
            what = f"{name}({key}={describe(wrong)})"
            known = right.get(key, parameter.default) if key != "scale_factor" else None  # one for each axis
            never = never_right(wrong, known) and (name, key) not in IGNORED
            made = attempt(lambda k=key, w=wrong: make(**{**right, k: w}), what, never=never)
            attempt(lambda made=made: made and (repr(made), made(*arrays)), what)


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


def test_settings_are_refused_in_contexts_of_devices() -> None:
    """In one of the CPU, and while another thread is in one."""

    def wrong() -> None:
        refused(ValueError, "padding", nn.MaxPool2d, 2, padding=2)

    with rv.device("cpu"):
        wrong()
    with rv.device("meta"), ThreadPoolExecutor(1) as pool:
        pool.submit(wrong).result()


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


@pytest.mark.parametrize("name", KINDS)
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
        attempt(lambda w=wrong: make(w, lr=0.1), f"{name}({describe(wrong)})")


@pytest.mark.parametrize("name", METRICS)
def test_metrics(name: str) -> None:
    right = np.array([0, 1, 1])
    for wrong in wrong_arrays(right):
        for arguments in ((wrong, right), (right, wrong)):
            never = never_right(wrong, labels=True)
            attempt(lambda a=arguments: metrics.METRICS[name](*a), f"{name} {describe(wrong)}", never=never)


def test_data() -> None:
    x = np.arange(12.0).reshape(6, 2)
    for wrong in (*WRONG_ATTRIBUTES, *wrong_arrays(x)):
        for key in ("test_size", "train_size", "random_state", "stratify"):
            what = f"train_test_split({key}={describe(wrong)})"
            attempt(lambda k=key, w=wrong: data.train_test_split(x, **{k: w}), what)
        for call in (
            lambda w=wrong: data.train_test_split(x, w),
            lambda w=wrong: data.one_hot(w),
            lambda w=wrong: data.Standardize().fit(w),
            lambda w=wrong: list(data.DataLoader(data.TensorDataset(x), batch_size=w)),
            lambda w=wrong: data.random_split(data.TensorDataset(x), w),
        ):
            attempt(call, f"{inspect.getsource(call).strip()} of {describe(wrong)}")


def test_files(tmp_path: Any) -> None:
    model = nn.Linear(2, 2)
    refused(OSError, str(tmp_path), rv.save, model, tmp_path)
    for wrong in (None, 3.5, [], object()):
        attempt(lambda w=wrong: rv.load(w), f"load({wrong})")
        attempt(lambda w=wrong: rv.save(model, w), f"save({wrong})")
        attempt(lambda w=wrong: rv.save(w, tmp_path / "x"), f"save {wrong}")


NEGATIVE, NAN = rv.tensor(-1.0), np.array(np.nan)  # numbers as Tensors and arrays are checked as numbers are
PARTS, PROBS = [rv.ones(2, requires_grad=True)], rv.tensor([0.5, 0.5])
X, Y = rv.rand(2, 3), rv.rand(2, 3)
INVALID: dict[str, Any] = {
    "normal": lambda: rv.normal(rv.zeros(2), rv.tensor([-1.0, 1.0])),
    "normal nan": lambda: rv.normal(rv.zeros(2), rv.tensor([np.nan, 1.0])),
    "normal_": lambda: rv.zeros(2).normal_(0, NEGATIVE),
    "init.normal_": lambda: nn.init.normal_(rv.zeros(2), std=NEGATIVE),
    "bernoulli": lambda: rv.bernoulli(rv.zeros(2), 1.5),
    "gaussian_nll_loss": lambda: nn.functional.gaussian_nll_loss(X, Y, rv.tensor([[1.0, -1.0, 1.0]] * 2)),
    "triplet_margin_loss": lambda: nn.functional.triplet_margin_loss(X, Y, Y, margin=NEGATIVE),
    "dropout": lambda: nn.functional.dropout(X, rv.tensor([0.1, 0.2])),
    "softshrink": lambda: nn.functional.softshrink(X, NEGATIVE),
    "add": lambda: rv.add(X, Y, alpha=rv.ones(2)),
    **{f"{name} lr": lambda name=name: KINDS[name](PARTS, lr=NEGATIVE) for name in KINDS},
    "adam betas": lambda: optim.Adam(PARTS, betas=(NEGATIVE, 0.9)),
    "adam of two": lambda: optim.Adam(PARTS, betas=rv.tensor([0.1, 0.2])),
    "asgd lambd": lambda: optim.ASGD(PARTS, lambd=NAN),
    "sgd text": lambda: optim.SGD(PARTS, lr="0.1"),
    "StepLR": lambda: optim.lr_scheduler.StepLR(optim.SGD(PARTS, lr=0.1), 2, gamma=NAN),
    "MultiStepLR": lambda: optim.lr_scheduler.MultiStepLR(optim.SGD(PARTS, lr=0.1), {1, 2}),
    "CyclicLR": lambda: optim.lr_scheduler.CyclicLR(optim.SGD(PARTS, lr=0.1), 0.1, 0.5, NEGATIVE),
    "OneCycleLR": lambda: optim.lr_scheduler.OneCycleLR(optim.SGD(PARTS, momentum=0.9), 0.1, 9, div_factor=0),
    "get_ema_avg_fn": lambda: optim.swa_utils.get_ema_avg_fn(2.0),
    "bmm": lambda: rv.bmm(rv.ones(2, 2, 3), rv.ones(2, 2, 3)),
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


BOOLS = """
rv.zeros(True) | rv.ones(True) | rv.empty(True) | rv.full((True,2),1.) | rv.rand(True) | rv.randn(True,2)
rv.eye(True) | rv.linspace(0,1,True) | rv.randint(0,3,(True,)) | rv.randperm(True) | rv.zeros((True,2))
rv.zeros([True]) | x.size(True) | x.stride(True) | x.reshape(True,6) | x.permute((True,0)) | x.rot90(True)
x.aminmax(dim=True) | rv.combinations(x[0],True) | rv.nn.Softmax(True)(x) | rv.nn.Flatten(True)(x)
rv.nn.Linear(True,2) | rv.nn.functional.pad(x,(True,0)) | rv.sum(x,dim=(True,)) | rv.flip(x,(True,))
rv.fft.fftshift(x,True) | x.scatter_add(True,j,x) | x.index_add(True,i,x[:,:1])
"""  # for other ops: DIMENSIONS in tests/properties/test_wrong_input.py


@pytest.mark.parametrize(
    "call", [call.strip() for call in BOOLS.replace("\n", "|").split("|") if call.strip()]
)
def test_a_bool_is_no_dimension_or_size(call):
    """A program that gives True means a flag, such as keepdim or descending."""
    x, i, j = rv.arange(6.0).reshape(2, 3), rv.tensor([0]), rv.tensor([[0]])
    with pytest.raises(TypeError, match=r"^\[\w+(\.\w+)*\] got "):
        eval(call.strip(), {"rv": rv, "x": x, "i": i, "j": j})
