"""torch.nn.utils.prune: which elements become 0, once and again; the module's names; errors."""

import pytest
import ranvier as rv
from ranvier import nn
from ranvier.torch import pruning as prune
from support.refused import refused

VALUES = rv.tensor([[1.0, -6.0, 2.0], [-5.0, 3.0, 4.0]])
LAST = rv.tensor([[6.0, 5, 4], [3, 2, 1]])


def _layer():
    layer = nn.Linear(3, 2)
    layer.weight.data, layer.bias.data = VALUES.clone(), rv.tensor([0.5, 9.0])
    return layer


def _all(layer, kind=prune.L1Unstructured, **settings):
    prune.global_unstructured([(layer, "weight"), (layer, "bias")], kind, **settings)


ROWS = {  # calls, the mask
    "share": (lambda m: prune.l1_unstructured(m, "weight", 0.5), [[0, 1, 0], [1, 0, 1]]),
    "count": (lambda m: prune.l1_unstructured(m, "weight", amount=1), [[0, 1, 1], [1, 1, 1]]),
    "of what is left": (
        lambda m: [prune.l1_unstructured(m, "weight", 2) for _ in "ab"],
        [[0, 1, 0], [1, 0, 0]],
    ),
    "scores": (lambda m: prune.l1_unstructured(m, "weight", 2, LAST), [[1, 1, 1], [1, 0, 0]]),
    "rows": (lambda m: prune.ln_structured(m, "weight", 0.5, 2, 0), [[0, 0, 0], [1, 1, 1]]),
    "columns, then elements": (
        lambda m: (
            prune.ln_structured(m, "weight", 1, n=1, dim=-1),
            prune.l1_unstructured(m, "weight", 0.25),
        ),
        [[0, 1, 0], [1, 1, 0]],
    ),
    "global": (lambda m: _all(m, amount=0.5), [[0, 1, 0], [1, 0, 1]]),
    "given": (lambda m: prune.custom_from_mask(m, "weight", VALUES > 2), [[0, 0, 0], [0, 1, 1]]),
    "none": (lambda m: prune.identity(m, "weight"), [[1, 1, 1], [1, 1, 1]]),
}


@pytest.mark.parametrize("row", ROWS)
def test_masks(row):
    layer, mask = _layer(), rv.tensor(ROWS[row][1], dtype=rv.float32)
    ROWS[row][0](layer)
    assert layer.weight_mask.tolist() == mask.tolist()
    assert "weight_orig" in dict(layer.named_parameters())
    assert prune.is_pruned(nn.Sequential(layer))
    layer(rv.ones(1, 3)).sum().backward()
    assert layer.weight_orig.grad.tolist() == mask.tolist()
    layer.weight_orig.data += 1  # each call multiplies by the mask
    assert layer(rv.ones(1, 3)).tolist() == [(((VALUES + 1) * mask).sum(1) + layer.bias).tolist()]
    prune.remove(layer, "weight")
    assert layer.weight.tolist() == ((VALUES + 1) * mask).tolist()
    assert isinstance(layer.weight, nn.Parameter)
    assert "weight_mask" not in layer.state_dict()


def test_random_masks_have_as_many_zeros():
    layer = nn.Linear(8, 6)
    prune.random_unstructured(layer, "weight", 0.25)
    prune.random_structured(layer, "weight", amount=2, dim=1)
    hook = next(iter(layer._forward_pre_hooks.values()))
    assert [type(method).__name__ for method in hook] == ["RandomUnstructured", "RandomStructured"]
    assert int((layer.weight_mask.sum(0) == 0).sum()) >= 2
    assert (prune.RandomUnstructured(12).prune(rv.ones(48)) == 0).sum() == 12


def test_what_pruning_refuses():
    layer = _layer()
    refused(TypeError, "Must be int or float", prune.l1_unstructured, layer, "weight", "x")
    refused(ValueError, "in the range [0, 1]", prune.l1_unstructured, layer, "weight", 1.5)
    refused(ValueError, "number of parameters to prune=6", prune.l1_unstructured, layer, "weight", 7)
    refused(ValueError, "with 1 dims", prune.ln_structured, layer, "bias", 0.5, 2, 0)
    refused(IndexError, "Invalid index 2", prune.random_structured, layer, "weight", 0.5, 2)
    refused(AssertionError, "expected (2, 3)", prune.l1_unstructured, layer, "weight", 1, rv.ones(2))
    refused(AssertionError, "got a mask (3,)", prune.custom_from_mask, layer, "weight", rv.ones(3))
    refused(TypeError, "of type structured", _all, layer, prune.LnStructured, amount=1, n=2)
    assert not prune.is_pruned(layer)
    assert list(layer.state_dict()) == ["weight", "bias"]
    refused(ValueError, "has to be pruned", prune.remove, layer, "weight")
    container = prune.PruningContainer(prune.Identity.apply(layer, "weight"))
    refused(ValueError, "named 'weight'", container.add_pruning_method, prune.Identity.apply(layer, "bias"))
    refused(TypeError, "not a BasePruningMethod", container.add_pruning_method, "weight")
