"""Embedding: starting values, padding, pretrained tables, errors."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused


def test_starting_values():
    weight = nn.Embedding(1000, 20, padding_idx=-1).weight.numpy(force=True)
    assert (weight[-1] == 0).all()
    assert abs(weight[:-1].mean()) < 0.05
    assert abs(weight[:-1].std() - 1) < 0.05


def test_text():
    layer = nn.Embedding(7, 3, padding_idx=-2, scale_grad_by_freq=True)
    assert repr(layer) == "Embedding(7, 3, padding_idx=5, scale_grad_by_freq=True)"
    found = rv.summary(nn.Sequential(layer, nn.Flatten(), nn.Linear(6, 2)), (2,), dtype=np.int64)
    assert [row.parameters for row in found.layers] == [21, 0, 14]


def test_from_pretrained(tmp_path):
    table = rv.tensor(np.arange(6.0).reshape(3, 2))
    frozen = nn.Embedding.from_pretrained(table)
    assert not frozen.weight.requires_grad
    assert frozen.weight.dtype == np.float64
    assert frozen(rv.tensor(2)).tolist() == [4, 5]
    assert nn.Embedding.from_pretrained(table, freeze=False, padding_idx=0).weight.requires_grad
    rv.save(nn.Sequential(frozen), tmp_path / "m.safetensors")
    np.testing.assert_array_equal(
        rv.load(tmp_path / "m.safetensors")[0].weight.numpy(force=True), table.numpy()
    )
    with pytest.raises(
        ValueError, match=r"\[embedding\] got embeddings of shape \(3,\); expected 2 dimensions"
    ):
        nn.Embedding.from_pretrained(table[:, 0])


def test_errors():
    with pytest.raises(
        ValueError, match=r"\[embedding\] got padding_idx 5 for 5 embeddings; expected -5 to 4"
    ):
        nn.Embedding(5, 2, padding_idx=5)
    with pytest.raises(IndexError, match=r'\[embedding\] got index 5 for 5 embeddings.*\(in layer "0"\)'):
        nn.Sequential(nn.Embedding(5, 2))(np.array([5]))


def test_categories_of_a_table():
    layer = nn.CategoryEmbedding(2, [3, 40]).double()
    assert (layer.width, [table.weight.shape for table in layer.tables]) == (12, [(3, 2), (40, 8)])
    assert [table.weight[0].abs().sum().item() for table in layer.tables] == [0.0, 0.0]
    x = np.array([[0.5, -1.0, 2.0, 39.0], [0.25, 4.0, 0.0, 7.0]])
    first, second = (table.weight.detach().numpy() for table in layer.tables)
    expected = np.hstack([x[:, :2], first[[2, 0]], second[[39, 7]]])
    np.testing.assert_array_equal(layer(rv.tensor(x)).detach().numpy(), expected)
    whole = layer.float()(rv.tensor([[1, 2, 1, 1]]))
    assert whole.dtype == rv.float32
    layer(rv.tensor(x)).sum().backward()
    assert layer.tables[0].weight.grad.numpy().sum(1).tolist() == [2.0, 0.0, 2.0]
    assert nn.CategoryEmbedding(2)(rv.tensor(x[:, :2])).tolist() == x[:, :2].tolist()
    assert nn.CategoryEmbedding(0, [5])(rv.tensor([[4.0]])).shape == (1, 3)
    refused(
        ValueError, "[CategoryEmbedding] got x of shape (2, 3); expected (n, 2 numbers + 2", layer, x[:, 1:]
    )
    refused(IndexError, "[embedding] got index 3", layer, np.array([[0.0, 0.0, 3.0, 0.0]]))
    refused(ValueError, "expected numbers >= 0 and categories >= 1", nn.CategoryEmbedding, -1, [0])
    refused(TypeError, "expected a whole number and a sequence", nn.CategoryEmbedding, 1, [2.5])
