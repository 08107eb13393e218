"""nn.utils.prune: masks of parameters, against PyTorch where installed."""

import copy
import importlib
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn.utils import prune
from support.refused import refused


def counted(library=rv, rows=3, columns=4):
    layer = library.nn.Linear(columns, rows)
    with library.no_grad():
        for i, p in enumerate(layer.parameters()):
            values = library.arange(1.0, p.numel() + 1) * (-1) ** library.arange(p.numel())
            p.copy_((values + 0.25 * i).reshape(p.shape))
    return layer


def test_the_least_stay_at_0_while_training():
    layer = counted()
    weight = layer.weight
    assert prune.l1_unstructured(layer, "weight", 0.5) is layer
    assert layer.weight_orig is weight
    assert layer.weight_mask.tolist() == [[0] * 4, [0, 0, 1, 1], [1] * 4]
    assert prune.is_pruned(nn.Sequential(layer))
    optimizer = rv.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(2):
        layer(rv.ones(2, 4)).sum().backward()
        optimizer.step()
    assert weight.grad.tolist() == (4 * layer.weight_mask).tolist()
    before = layer.weight.detach().clone()
    assert (before == 0).sum() == 6
    assert prune.remove(layer, "weight") is layer
    assert layer.weight is weight
    assert type(layer) is nn.Linear
    assert not prune.is_pruned(layer)
    np.testing.assert_array_equal(layer.weight.tolist(), before.tolist())
    assert sorted(layer.state_dict()) == ["bias", "weight"]


def test_a_draw_follows_the_seed():
    masks = []
    for _ in range(2):
        rv.manual_seed(5)
        masks.append(prune.random_unstructured(counted(), "weight", 0.25).weight_mask.tolist())
    assert masks[0] == masks[1]
    assert np.sum(masks[0]) == 9
    twice = prune.random_unstructured(prune.random_unstructured(counted(), "weight", 4), "weight", 0.5)
    assert twice.weight_mask.sum().item() == 4


def test_copies_and_files():
    layer = prune.custom_from_mask(counted(), "weight", rv.tensor([[1, 0, 1, 0]] * 3))
    x = rv.ones(2, 4)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin(x).tolist() == layer(x).tolist()
    other = prune.custom_from_mask(nn.Linear(4, 3), "weight", rv.ones(3, 4))
    other.load_state_dict(layer.state_dict())
    assert other(x).tolist() == layer(x).tolist()


def test_wrong_calls():
    layer = counted()
    refused(
        ValueError, "[prune] got amount 1.5; expected 0.0 to 1.0", prune.l1_unstructured, layer, "weight", 1.5
    )
    refused(
        ValueError, "[prune] got amount -1; expected 0.0 to 1.0", prune.l1_unstructured, layer, "weight", -1
    )
    refused(
        ValueError,
        "[prune] got amount 13; expected 0.0 to 1.0, or 0 to 12 elements",
        lambda: prune.l1_unstructured(layer, "weight", 13),
    )
    refused(
        TypeError,
        "[prune] got amount '0.5'; expected a number",
        lambda: prune.l1_unstructured(layer, "weight", "0.5"),
    )
    refused(ValueError, "[remove] got 'weight'; expected a parameter that has", prune.remove, layer, "weight")
    wrong = rv.ones(2, 2)
    refused(
        ValueError,
        "got a mask of shape (2, 2); expected (3, 4)",
        lambda: prune.custom_from_mask(layer, "weight", wrong),
    )
    refused(ValueError, "got importance_scores of shape", prune.l1_unstructured, layer, "weight", 1, wrong)
    refused(IndexError, "[prune] got dim 2; expected", prune.ln_structured, layer, "weight", 1, 2, 2)
    refused(
        TypeError,
        "expected L1Unstructured or RandomUnstructured, and amount",
        lambda: prune.global_unstructured([(layer, "weight")], prune.L1Unstructured),
    )
    assert sorted(layer.state_dict()) == ["bias", "weight"]


STEPS = {
    "l1": lambda prune, torch, a, b: prune.l1_unstructured(a, "weight", 0.3),
    "l1 of scores": lambda prune, torch, a, b: prune.l1_unstructured(
        a, "weight", 5, 9 - a.weight.detach().abs()
    ),
    "l1 twice": lambda prune, torch, a, b: [prune.l1_unstructured(a, "weight", 0.4) for _ in range(2)],
    "l1 and mask": lambda prune, torch, a, b: [
        prune.l1_unstructured(a, "weight", 3),
        prune.custom_from_mask(a, "weight", (a.weight.detach() > 0).float()),
        prune.l1_unstructured(a, "weight", 2),
    ],
    "rows": lambda prune, torch, a, b: prune.ln_structured(a, "weight", 0.5, 2, 0),
    "columns twice": lambda prune, torch, a, b: [
        prune.ln_structured(a, "weight", n, n=order, dim=-1) for n, order in ((1, 1), (0.4, float("inf")))
    ],
    "elements, then rows of scores": lambda prune, torch, a, b: [
        prune.l1_unstructured(a, "weight", 5),
        prune.ln_structured(a, "weight", 1, 2, 0, 20 - a.weight.detach().abs()),
    ],
    # without b.weight: PyTorch's topk breaks ties with a.weight as it likes
    "global twice": lambda prune, torch, a, b: [
        prune.global_unstructured(
            [(a, "weight"), (a, "bias"), (b, "bias")], pruning_method=prune.L1Unstructured, amount=amount
        )
        for amount in (0.25, 4)
    ],
    "global of scores": lambda prune, torch, a, b: prune.global_unstructured(
        ((a, "weight"), (b, "weight")),
        prune.L1Unstructured,
        importance_scores={(b, "weight"): b.weight.detach() / 100},
        amount=9,
    ),
}


def run(library, step):
    torch = importlib.import_module(library)
    utils = importlib.import_module(f"{library}.nn.utils.prune")
    a, b = counted(torch), counted(torch, 5, 2)
    STEPS[step](utils, torch, a, b)
    found = {}
    for name, layer in (("a", a), ("b", b)):
        for key in (*layer.state_dict(), "weight", "bias"):
            found[f"{name}.{key}"] = getattr(layer, key).detach().numpy().copy()
    if utils.is_pruned(a):
        found["removed"] = utils.remove(a, "weight").weight.detach().numpy()
    return found


@pytest.mark.parametrize("step", STEPS)
def test_as_pytorch(step, torch):
    ours, theirs = run("ranvier", step), run("torch", step)
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name)


@pytest.mark.parametrize("name", ["nope", "bias", "forward"])
def test_what_is_no_parameter_is_refused(name):
    layer = rv.nn.Linear(4, 2, bias=False)
    for call in (
        lambda: prune.l1_unstructured(layer, name, 0.5),
        lambda: prune.random_unstructured(layer, name, 0.5),
        lambda: prune.custom_from_mask(layer, name, rv.ones(2, 4)),
    ):
        with pytest.raises(ValueError, match=rf"^\[prune\] got '{name}'; expected a parameter of Linear"):
            call()


def test_amounts_and_scores_of_numpy():
    layer = prune.l1_unstructured(rv.nn.Linear(4, 2), "weight", np.int64(3), np.arange(8).reshape(2, 4))
    assert layer.weight_mask.tolist() == [[0, 0, 0, 1], [1, 1, 1, 1]]
    layer = prune.l1_unstructured(rv.nn.Linear(4, 2), "weight", np.float32(0.5))
    assert (layer.weight == 0).sum() == 4
