"""Loss layers: each layer's op of the same name, and its settings.

A sample (tests/samples) is a call of a loss layer; its first argument is the layer itself.
"""

from inspect import currentframe

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn, ops
from ranvier.nn.arguments import arguments_of
from samples import layer_samples
from support.grouped import grouped
from support.refused import refused

LOSSES = [sample for sample in layer_samples() if sample.op.name.endswith("Loss")]


@grouped("sample", LOSSES, ids=str)
def test_the_text_has_the_settings_that_were_given(sample):
    """Values, states and files of each: tests/nn/test_every_layer.py."""
    layer = sample.args[0]
    shown = repr(layer)
    assert all(f"{name}=" in shown for name in arguments_of(layer))
    assert repr(type(layer)()) == f"{sample.op.name}()"


def test_weights_are_buffers():
    """As in PyTorch: in the state dict, of the dtype that the module is moved to."""
    loss = nn.CrossEntropyLoss(weight=rv.tensor([1.0, 2.0]))
    assert list(loss.state_dict()) == ["weight"]
    assert list(nn.CrossEntropyLoss().state_dict()) == []
    assert loss.double().weight.dtype == np.float64
    x, target = rv.tensor([[1.0, 2.0]], dtype=rv.float64), rv.tensor([1])
    assert loss(x, target).dtype == np.float64
    loss.load_state_dict({"weight": np.array([3.0, 4.0])})
    assert loss.weight.tolist() == [3, 4]


def test_errors_name_the_loss():
    with pytest.raises(ValueError, match=r"\[mse_loss\] got x of shape \(3,\) and target of shape \(3, 1\)"):
        nn.MSELoss()(rv.zeros(3), rv.zeros(3, 1))
    with pytest.raises(TypeError, match=r"\[BCELoss\] got weight 'heavy'; expected a Tensor or numbers"):
        nn.BCELoss(weight="heavy")


OLD = [  # (size_average, reduce): what they mean
    (None, None, "mean"),
    (True, None, "mean"),
    (False, None, "sum"),
    (None, False, "none"),
    (False, True, "sum"),
    (False, False, "none"),
]


@pytest.mark.filterwarnings("ignore:.*obsolete")
@pytest.mark.parametrize(("average", "reduce", "meant"), OLD)
def test_old_reductions(average, reduce, meant, rng):
    """size_average and reduce, by name and in PyTorch's places."""
    x, t = rng.normal(size=(4, 3)).astype("float32"), rng.integers(0, 3, 4)
    want = ops.cross_entropy(x, t, None, 2, meant).numpy()
    for given in (
        F.cross_entropy(x, t, None, average, 2, reduce),
        F.cross_entropy(x, t, size_average=average, ignore_index=2, reduce=reduce),
        nn.CrossEntropyLoss(None, average, 2, reduce)(x, t),
        nn.CrossEntropyLoss(size_average=average, ignore_index=2, reduce=reduce)(x, t),
    ):
        np.testing.assert_array_equal(given.numpy(), want)
    want = ops.mse(x, x[::-1], meant).numpy()
    for given in (F.mse_loss(x, x[::-1], average, reduce), nn.MSELoss(average, reduce)(x, x[::-1])):
        np.testing.assert_array_equal(given.numpy(), want)
    again = nn.MSELoss(average, reduce)
    assert nn.MSELoss(**arguments_of(again)).reduction == again.reduction == meant


def test_old_reductions_warn_and_are_no_reductions():
    x = rv.ones(2, 3)
    with pytest.warns(UserWarning, match=r"\[mse_loss\] .* obsolete: use reduction='sum'"):
        F.mse_loss(x, x, size_average=False)
    for call in (lambda: F.mse_loss(x, x, "sum"), lambda: nn.MSELoss("sum"), lambda: nn.L1Loss(None, 0)):
        refused(TypeError, "expected True, False or None: pass reduction", call)


class OwnLoss(nn.MSELoss):
    """A loss of a program."""


LAYERS = [nn.MSELoss, nn.NLLLoss, nn.MultiMarginLoss, OwnLoss]


@pytest.mark.parametrize("function", [F.mse_loss, F.cosine_embedding_loss, F.multi_margin_loss, *LAYERS])
def test_old_reductions_warn_at_the_line_of_the_program(function):
    x, whole = rv.ones(2, 3), rv.zeros(2, dtype=rv.int64)
    arguments = {F.cosine_embedding_loss: (x, x, rv.ones(2)), F.multi_margin_loss: (x, whole)}
    given = () if function in LAYERS else arguments.get(function, (x, x))
    with pytest.warns(UserWarning, match="obsolete") as caught:
        function(*given, size_average=True)
    line = currentframe().f_lineno - 1
    assert [(warning.filename, warning.lineno) for warning in caught] == [(__file__, line)]


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_weights_of_elements(reduction, rng, torch):
    x, t, w = (rng.uniform(size=(4, 3)) for _ in range(3))
    for name in ("mse_loss", "l1_loss", "huber_loss"):
        got = getattr(F, name)(rv.tensor(x), rv.tensor(t), weight=rv.tensor(w), reduction=reduction)
        theirs = getattr(torch.nn.functional, name)
        want = theirs(*map(torch.tensor, (x, t)), weight=torch.tensor(w), reduction=reduction)
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-12)
        with pytest.raises(ValueError, match="got weight of shape"):
            getattr(F, name)(rv.tensor(x), rv.tensor(t), weight=rv.ones(3))


@pytest.mark.parametrize("target", [rv.tensor([0.0, 1.0, 1.0]), np.array([0.0, 1.0, 1.0], np.float32)])
def test_float_class_indices_are_refused_with_the_remedy(target):
    x = rv.zeros(3, 2)
    for call in (F.cross_entropy, nn.CrossEntropyLoss()):
        refused(ValueError, "[cross_entropy] got x of shape (3, 2) and target of shape (3,)", call, x, target)
        refused(ValueError, "class indices of an integer dtype: y.long()", call, x, target)
    for call in (F.nll_loss, nn.NLLLoss()):
        refused(TypeError, "[nll_loss] got target of dtype float32; expected class indices", call, x, target)
        refused(TypeError, "y.astype(int)", call, x, target)


# Calls with shapes that do not fit: each function names itself in the error, not the op behind it.
ONE = rv.ones(2, 3)
TWO = rv.ones(5)
THREE = rv.ones(7)
CALLS = {
    "binary_cross_entropy": (ONE, TWO),
    "binary_cross_entropy_with_logits": (ONE, TWO),
    "cosine_embedding_loss": (ONE, TWO, THREE),
    "cross_entropy": (ONE, TWO),
    "gaussian_nll_loss": (ONE, TWO, THREE),
    "hinge_embedding_loss": (ONE, TWO),
    "huber_loss": (ONE, TWO),
    "kl_div": (ONE, TWO),
    "l1_loss": (ONE, TWO),
    "margin_ranking_loss": (ONE, TWO, THREE),
    "mse_loss": (ONE, TWO),
    "multi_margin_loss": (ONE, TWO),
    "multilabel_margin_loss": (ONE, TWO),
    "multilabel_soft_margin_loss": (ONE, TWO),
    "nll_loss": (ONE, rv.tensor([0])),
    "poisson_nll_loss": (ONE, TWO),
    "smooth_l1_loss": (ONE, TWO),
    "soft_margin_loss": (ONE, TWO),
    "triplet_margin_loss": (ONE, TWO, THREE),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_error_has_the_name_of_the_function(name):
    with pytest.raises((ValueError, TypeError)) as caught:
        getattr(F, name)(*CALLS[name])
    assert str(caught.value).startswith(f"[{name}] got ")
