"""quantize_dynamic: its layers have the methods of PyTorch's."""

import copy
import pickle

import numpy as np
import ranvier as rv
from ranvier import nn
from ranvier.torch.modules.quantization import quantize_dynamic
from support.refused import refused


def test_layers_of_quantize_dynamic():
    """Weight and bias are methods, as PyTorch's are; those of attention stay what it reads."""
    network = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    small, x = quantize_dynamic(network, {nn.Linear}), rv.randn(5, 64)
    same, y, weight = rv.quantize(network, group=None), small(x), small[0].weight()
    np.testing.assert_array_equal(y.numpy(), same(x).numpy())
    values = weight.int_repr().numpy() * weight.q_per_channel_scales().numpy().astype("f4")[:, None]
    for found in (values, weight.dequantize().numpy()):
        np.testing.assert_array_equal(found, same[0].weight.numpy())
    assert (weight.shape, weight.dim(), weight.numel(), weight.element_size()) == ((48, 64), 2, 48 * 64, 1)
    assert str(weight).startswith(str(weight.dequantize()))
    assert not weight.q_per_channel_zero_points().any()
    np.testing.assert_array_equal(small[0].bias().numpy(), network[0].bias.detach().numpy())
    assert str(small[2]).startswith(
        "DynamicQuantizedLinear(in_features=48, out_features=10, dtype=torch.qint8"
    )
    for again in (copy.deepcopy(small), pickle.loads(pickle.dumps(small)), rv.compile(small)):
        np.testing.assert_array_equal(again(x).numpy(), y.numpy())
    made = type(small[0]).from_float(network[0])
    np.testing.assert_array_equal(made(x).numpy(), small[0](x).numpy())
    refused(RuntimeError, "q_per_channel_scales()", weight.q_scale)
    empty = type(small[0])(64, 48, dtype=rv.int8)
    empty.load_state_dict(small[0].state_dict())
    np.testing.assert_array_equal(empty(x).numpy(), small[0](x).numpy())
    assert type(small[0])(64, 48, bias_=False).bias() is None


def test_layers_of_attention_stay():
    """Attention reads their weights; quantized attention has layers of its own."""
    attention = nn.MultiheadAttention(32, 4)
    assert type(quantize_dynamic(attention, {nn.Linear})) is nn.MultiheadAttention
    encoder, x = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64), 1).eval(), rv.randn(7, 1, 32)
    for types in ({nn.Linear}, {nn.MultiheadAttention, nn.Linear}):
        small = quantize_dynamic(encoder, types)
        found = [
            name for name, layer in small.named_modules() if "DynamicQuantized" in str(layer).split("(")[0]
        ]
        assert found == ["layers.0.linear1", "layers.0.linear2"]
        y, expected = small(x).detach(), encoder(x).detach()
        assert (y - expected).norm() < 0.02 * expected.norm()
