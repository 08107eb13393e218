"""Linear, convolutions and embeddings: starting values, text, errors, batches without samples.

Starting values must lie within their bounds and fill them; errors must have this text.
"""

import math

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused


def test_parameters_are_pytorchs():
    layer = nn.Linear(100, 50)
    assert {name: p.shape for name, p in layer.named_parameters()} == {"weight": (50, 100), "bias": (50,)}
    for p in layer.parameters():
        assert p.dtype == np.float32
        assert p.requires_grad
        assert 0.08 < abs(p.detach().numpy()).max() <= 1 / math.sqrt(100) * (1 + np.finfo(np.float32).eps)


def test_a_bias_with_leading_ones():
    x, w, b = rv.arange(6).float().reshape(2, 3), rv.ones(4, 3), rv.arange(4).float().requires_grad_()
    y = nn.functional.linear(x, w, b.reshape(1, 4))
    y.sum().backward()
    np.testing.assert_array_equal(y.detach().numpy(), nn.functional.linear(x, w, b).detach().numpy())
    np.testing.assert_array_equal(b.grad.numpy(), [2.0] * 4)
    refused(ValueError, "[linear] got x of shape (2, 3)", nn.functional.linear, x, w, rv.zeros(2, 4))
    refused(ValueError, "[linear] got x of shape (3,)", nn.functional.linear, x[0], w, rv.zeros(1, 4))


def test_wrong_sizes():
    refused(ValueError, "[linear] got in_features -1; expected at least 0", nn.Linear, -1, 2)


# The Conv2d layer: parameters, starting values, settings.


def test_starting_values():
    layer = nn.Conv2d(8, 64, 5)
    bound = 1 / math.sqrt(8 * 25)
    for p in layer.parameters():
        values = p.detach().numpy()
        assert np.abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.2)


def test_same_padding_keeps_the_size():
    assert nn.Conv2d(1, 2, 4, padding="same", dilation=2)(rv.zeros(1, 1, 7, 9)).shape == (1, 2, 7, 9)


def test_wrong_settings():
    for text, *arguments in (
        ("got kernel_size 0; expected an integer or a pair of integers >= 1", 3, 4, 0),
        ("got stride 1.5; expected", 3, 4, 3, 1.5),
        ("got padding -1; expected an integer or a pair of integers >= 0", 3, 4, 3, 1, -1),
        ("got padding 'full'; expected", 3, 4, 3, 1, "full"),
        ("got padding 'same' and stride (2, 2); expected stride 1", 3, 4, 3, 2, "same"),
        ("got 3 in_channels, 4 out_channels and 2 groups; expected", 3, 4, 3, 1, 0, 1, 2),
        ("got 0 in_channels", 0, 4, 3),
        ("got padding_mode 'mirror'; expected one of 'zeros', ", 3, 4, 3, 1, 0, 1, 1, True, "mirror"),
    ):
        refused(ValueError, f"[conv2d] {text}", nn.Conv2d, *arguments)


def test_sizes_of_a_transposed_result():
    x = rv.randn(2, 4, 9)
    layer = nn.ConvTranspose1d(4, 6, 4, 2, 1, groups=2)
    assert layer(x).shape == (2, 6, 18)
    assert layer(x, output_size=(19,)).shape == (2, 6, 19)
    with pytest.raises(ValueError, match=r"\[conv_transpose1d\] got output_size \(20,\); expected sizes"):
        layer(x, output_size=(20,))


def test_a_transposed_layer():
    layer = nn.ConvTranspose2d(8, 4, (4, 3), stride=2, padding=1, output_padding=(0, 1))
    bound = 1 / math.sqrt(4 * 12)
    assert 0.9 * bound < np.abs(layer.weight.detach().numpy()).max() <= bound
    with pytest.raises(ValueError, match=r"\[conv_transpose2d\] got padding_mode 'reflect'"):
        nn.ConvTranspose2d(1, 1, 3, padding_mode="reflect")


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes(mode):
    """The image is padded by its own values, and what is left is a convolution without padding."""
    x = rv.randn(2, 3, 7, 6)
    layer = nn.Conv2d(3, 4, (3, 2), padding=(2, 1), padding_mode=mode)
    expected = rv.conv2d(rv.pad(x, (1, 1, 2, 2), mode), layer.weight, layer.bias)
    np.testing.assert_array_equal(layer(x).detach().numpy(), expected.detach().numpy())
    same = nn.Conv1d(3, 4, 4, padding="same", dilation=2, padding_mode=mode)
    assert same(x[:, :, 0]).shape == (2, 4, 6)
    assert repr(layer).endswith(f"padding=(2, 1), padding_mode={mode})")


# Embedding: starting values, padding, pretrained tables, errors.


def test_starting_values_of_embedding():
    weight = nn.Embedding(1000, 20, padding_idx=-1).weight.numpy(force=True)
    assert (weight[-1] == 0).all()
    assert abs(weight[:-1].mean()) < 0.05
    assert abs(weight[:-1].std() - 1) < 0.05


def test_text_of_embedding():
    layer = nn.Embedding(7, 3, padding_idx=-2, scale_grad_by_freq=True)
    assert repr(layer) == "Embedding(7, 3, padding_idx=5, scale_grad_by_freq=True)"
    found = rv.summary(nn.Sequential(layer, nn.Flatten(), nn.Linear(6, 2)), (2,), dtype=np.int64)
    assert [row.parameters for row in found.layers] == [21, 0, 14]


@pytest.mark.parametrize("dtype", [rv.int8, rv.int64, rv.bool], ids=str)
def test_from_pretrained_of_no_floats(dtype):
    """Frozen: such a table has no gradient. A subclass gets the arguments by PyTorch's keywords."""

    class Own(nn.Embedding):
        def __init__(self, num_embeddings, embedding_dim, **settings):
            super().__init__(num_embeddings, embedding_dim, **settings)
            self.given = settings

    table = rv.tensor([[0, 1], [1, 1], [2, 0]]).to(dtype)
    layer = Own.from_pretrained(table, padding_idx=0)
    assert layer(rv.tensor([2, 0])).tolist() == table[[2, 0]].tolist()
    assert (layer.weight.dtype, layer.weight.requires_grad, layer.given["padding_idx"]) == (dtype, False, 0)
    with pytest.raises(RuntimeError, match="floating"):
        nn.Embedding.from_pretrained(table, freeze=False)


def test_from_pretrained(tmp_path):
    table = rv.tensor(np.arange(6.0).reshape(3, 2))
    frozen = nn.Embedding.from_pretrained(table)
    assert not frozen.weight.requires_grad
    assert frozen.weight.dtype == np.float64
    assert frozen(rv.tensor(2)).tolist() == [4, 5]
    rv.save(nn.Sequential(frozen), tmp_path / "m.safetensors")
    np.testing.assert_array_equal(rv.load(tmp_path / "m.safetensors")[0].weight.detach(), table.numpy())


def test_errors():
    text = "[embedding] got padding_idx 5 for 5 embeddings; expected -5 to 4"
    refused(ValueError, text, nn.Embedding, 5, 2, padding_idx=5)
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
    text = "[CategoryEmbedding] got x of shape (2, 3); expected (n, 2 numbers + 2"
    refused(ValueError, text, layer, x[:, 1:])
    refused(IndexError, "[embedding] got index 3", layer, np.array([[0.0, 0.0, 3.0, 0.0]]))
    refused(ValueError, "expected numbers >= 0 and categories >= 1", nn.CategoryEmbedding, -1, [0])
    refused(TypeError, "expected a whole number and a sequence", nn.CategoryEmbedding, 1, [2.5])


def test_a_layer_of_integers_is_refused():
    layer = nn.Linear(2, 2)
    before = layer.weight.tolist()
    refused(TypeError, "floating", layer.to, rv.int64)
    assert layer.weight.dtype == rv.float32
    assert layer.weight.tolist() == before
