"""States by names and what else PyTorch's programs ask for: products by groups, hooks of all optimizers."""

from __future__ import annotations

import io

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.optim.hooks import of_all
from ranvier.torch import files
from ranvier.torch.distributed import distributed_state_dict
from ranvier.torch.functions.linalg import grouped_mm
from ranvier.torch.modules import bases
from support.refused import refused


def trained():
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    model[0].bias.requires_grad = False
    groups = [{"params": [model[0].weight]}, {"params": [*model[2].parameters()], "lr": 0.1}]
    optimizer = rv.optim.AdamW(groups)
    model(rv.randn(4, 2)).sum().backward()
    optimizer.step()
    return model, optimizer


def test_states_go_to_another_model_and_optimizer():
    model, optimizer = trained()
    weights, state = distributed_state_dict.get_state_dict(nn.DataParallel(model), optimizer)
    assert [group["params"] for group in state["param_groups"]] == [["0.weight"], ["2.weight", "2.bias"]]
    other = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    last = rv.optim.AdamW([*other[2].parameters()], lr=9)
    distributed_state_dict.set_state_dict(other, last, model_state_dict=weights, optim_state_dict=state)
    assert all(rv.equal(a, b) for a, b in zip(other.state_dict().values(), weights.values(), strict=True))
    assert rv.equal(last.state[other[2].bias]["exp_avg"], optimizer.state[model[2].bias]["exp_avg"])
    assert last.param_groups[0]["lr"] == 0.1


def test_parts_of_a_state_and_what_is_refused():
    model, optimizer = trained()
    assert [*distributed_state_dict.get_model_state_dict(model, submodules={model[2]})] == [
        "2.weight",
        "2.bias",
    ]
    ignoring = distributed_state_dict.StateDictOptions(ignore_frozen_params=True)
    assert "0.bias" not in distributed_state_dict.get_model_state_dict(model, options=ignoring)
    refused(TypeError, "got a state of type list", distributed_state_dict.set_model_state_dict, model, [])
    flat = {"options": distributed_state_dict.StateDictOptions(flatten_optimizer_state_dict=True)}
    refused(
        NotImplementedError, "expected False", distributed_state_dict.get_state_dict, model, optimizer, **flat
    )
    lacking = {"state": {}, "param_groups": []}
    refused(
        ValueError,
        "got no group with",
        distributed_state_dict.set_optimizer_state_dict,
        model,
        optimizer,
        lacking,
    )


@pytest.mark.parametrize(
    ("a", "b", "ends"),
    [((6, 4), (3, 4, 5), (2, 2, 5)), ((3, 2, 4), (4, 6), (2, 5, 6)), ((2, 6), (6, 5), (1, 6))],
)
def test_products_by_groups(a, b, ends):
    rng = np.random.default_rng(0)
    x, w = (rv.from_numpy(rng.standard_normal(shape)).requires_grad_() for shape in (a, b))
    y = grouped_mm(x, w, offs=rv.tensor(ends, dtype=rv.int32))
    right, begin = np.zeros(y.shape), 0
    for g, end in enumerate(ends):
        part, m, k = slice(begin, end), x.detach().numpy(), w.detach().numpy()
        if len(a) == len(b):
            right[g] = m[:, part] @ k[part]
        elif len(b) == 3:
            right[part] = m[part] @ k[g]
        else:
            right[:, part] = m[g] @ k[:, part]
        begin = end
    np.testing.assert_allclose(y.detach().numpy(), right, rtol=1e-12)
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    refused(RuntimeError, "which rises", grouped_mm, x, w, offs=rv.tensor([3, 1, 2], dtype=rv.int32))


def test_attributes_of_layers():
    rnn, x = nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2), rv.zeros(5, 6, 3)
    assert rnn.get_expected_hidden_size(x, None) == (4, 6, 2)
    assert rnn.get_expected_cell_size(x, [3]) == (4, 3, 4)
    rnn.check_input(x, None)
    refused(RuntimeError, "Expected hidden size", rnn.check_hidden_size, x, (1, 2, 3))
    assert rnn.permute_hidden(x, rv.tensor([1, 0, 2, 3, 4, 5]))[0, 0].tolist() == [0, 0, 0]
    attention, mask = nn.MultiheadAttention(8, 2), rv.zeros(6, 6)
    merged, kind = attention.merge_masks(mask, rv.ones(5, 6), rv.zeros(5, 6, 8))
    assert (merged.shape, kind, merged[0, 0, 0, 0].item()) == ((5, 2, 6, 6), 2, 1.0)
    assert attention.merge_masks(None, mask, x)[1] == 1
    assert attention._qkv_same_embed_dim != nn.MultiheadAttention(8, 2, kdim=3)._qkv_same_embed_dim
    layer = nn.TransformerEncoderLayer(8, 2, activation="gelu")
    encoder = nn.TransformerEncoder(layer, 1, mask_check=False)
    assert (layer.activation_relu_or_gelu, encoder.mask_check, encoder.use_nested_tensor) == (2, False, False)
    assert nn.Conv2d(1, 1, 3).output_padding == (0, 0)


def test_hooks_of_all_optimizers_also_of_those_that_come_later():
    p, log = nn.Parameter(rv.ones(1)), []
    first = rv.optim.SGD([p], lr=0.1)
    kinds = "before step", "after step"
    hooks = [of_all(kind, lambda *given, kind=kind: log.append(kind)) for kind in kinds]
    first.register_step_pre_hook(lambda *given: log.append("own"))
    try:
        first.step()
        rv.optim.SGD([p], lr=0.1).step()
    finally:
        for hook in hooks:
            hook.remove()
    first.step()
    assert log == ["before step", "own", "after step", "before step", "after step", "own"]


def test_names_of_a_file_that_are_not_safe():
    stream = io.BytesIO()
    files.save(
        {"w": rv.ones(1), "a": np.float64(1), "own": distributed_state_dict.StateDictOptions()}, stream
    )
    unsafe = files.get_unsafe_globals_in_checkpoint
    assert unsafe(stream) == ["ranvier.torch.distributed.distributed_state_dict.StateDictOptions"]
    refused(ValueError, "expected one of torch.save", unsafe, io.BytesIO(b"x"))
    state = {"module.weight": 1, "bias": 2}
    bases.consume_prefix_in_state_dict_if_present(state, "module.")
    assert state == {"bias": 2, "weight": 1}
