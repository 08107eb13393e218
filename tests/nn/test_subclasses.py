"""What programs that subclass layers or replace their parts rely on."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn.linear import NonDynamicallyQuantizableLinear

X = rv.tensor(np.linspace(-1, 1, 3 * 2 * 4, dtype=np.float32).reshape(3, 2, 4))
MEMORY = rv.tensor(np.linspace(1, 2, 5 * 2 * 4, dtype=np.float32).reshape(5, 2, 4))
CAUSAL = nn.Transformer.generate_square_subsequent_mask(3)
KEYWORDS = ["attn_mask", "is_causal", "key_padding_mask", "need_weights"]


def encoder_layer(kind=nn.TransformerEncoderLayer, **settings):
    return kind(4, 2, 8, dropout=0.0, **settings)


def decoder_layer(kind=nn.TransformerDecoderLayer, **settings):
    return kind(4, 2, 8, dropout=0.0, **settings)


# --- stacks of layers
class OtherOrder(nn.TransformerEncoderLayer):
    def forward(self, src, src_key_padding_mask=None, src_mask=None, is_causal=None):
        self.seen = src_mask, src_key_padding_mask, is_causal
        return src


class OtherDecoder(nn.TransformerDecoderLayer):
    def forward(
        self,
        tgt,
        memory,
        memory_mask=None,
        tgt_mask=None,
        memory_key_padding_mask=None,
        tgt_key_padding_mask=None,
        memory_is_causal=None,
        tgt_is_causal=None,
    ):
        self.seen = tgt_mask, memory_mask, tgt_is_causal, memory_is_causal
        return tgt


@pytest.mark.parametrize("whole", [False, True])
def test_stacks_give_masks_by_name(whole):
    """A layer whose arguments have another order gets each mask under its name."""
    encoder = nn.TransformerEncoder(encoder_layer(OtherOrder), 1)
    decoder = nn.TransformerDecoder(decoder_layer(OtherDecoder), 1)
    if whole:
        model = nn.Transformer(4, 2, custom_encoder=encoder, custom_decoder=decoder)
        model(X, X, src_mask=CAUSAL, tgt_mask=CAUSAL)
    else:
        encoder(X, mask=CAUSAL)
        decoder(X, MEMORY, tgt_mask=CAUSAL)
    mask, padding, is_causal = encoder.layers[0].seen
    assert mask is CAUSAL
    assert (padding, is_causal) == (None, True)
    assert decoder.layers[0].seen == (CAUSAL, None, True, False)


def test_a_layer_of_a_program_gets_numbers_for_bool_masks():
    """PyTorch's encoder makes numbers of bool masks, which such a layer adds to its scores."""
    encoder = nn.TransformerEncoder(encoder_layer(OtherOrder), 1)
    encoder(X, mask=CAUSAL < 0, src_key_padding_mask=rv.tensor([[True, False, False]] * 2))
    mask, padding, is_causal = encoder.layers[0].seen
    np.testing.assert_array_equal(mask, CAUSAL)
    np.testing.assert_array_equal(padding, [[-np.inf, 0, 0]] * 2)
    assert is_causal is True
    encoder(X, mask=rv.tensor(np.eye(3, dtype=bool)))
    assert encoder.layers[0].seen[2] is False


# --- attention in a layer
def test_layers_call_their_attention_by_keyword():
    seen = []
    encoder = encoder_layer()
    decoder = decoder_layer()
    for attention in (encoder.self_attn, decoder.self_attn, decoder.multihead_attn):
        attention.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append((len(args), sorted(kwargs))), with_kwargs=True
        )
    encoder(X)
    decoder(X, MEMORY)
    assert seen == [(3, KEYWORDS)] * 3


def test_a_wrapper_of_forward_asks_for_weights():
    """The usual way to see the weights of an encoder's attention."""
    model = nn.TransformerEncoder(encoder_layer(), 1)
    attention = model.layers[0].self_attn
    shapes = []
    forward = attention.forward

    def with_weights(*args, **kwargs):
        kwargs["need_weights"] = True
        return forward(*args, **kwargs)

    attention.forward = with_weights
    attention.register_forward_hook(lambda module, args, out: shapes.append(tuple(out[1].shape)))
    model(X)
    assert shapes == [(2, 3, 3)]


class Recorded(nn.Module):
    batch_first = False

    def forward(self, query, key, value, **masks):
        self.masks = masks
        return query, None


def test_an_attention_of_a_program_gets_numbers_for_bool_masks():
    layer = encoder_layer()
    layer.self_attn = Recorded()
    layer(X, src_mask=CAUSAL < 0)
    np.testing.assert_array_equal(layer.self_attn.masks["attn_mask"], CAUSAL)


# --- blocks
class NoBlocks(nn.TransformerEncoderLayer):
    def _sa_block(self, x, attn_mask, key_padding_mask, is_causal=False):
        self.seen = attn_mask, key_padding_mask, is_causal
        return x * 0

    def _ff_block(self, x):
        return x * 0


class NoMemory(nn.TransformerDecoderLayer):
    def _mha_block(self, x, mem, attn_mask, key_padding_mask, is_causal=False):
        return x * 0


@pytest.mark.parametrize("norm_first", [False, True])
def test_blocks_of_a_subclass_are_called(norm_first):
    layer = encoder_layer(NoBlocks, norm_first=norm_first)
    y = layer(X, CAUSAL, is_causal=True)
    expected = X if norm_first else layer.norm2(layer.norm1(X))
    np.testing.assert_array_equal(y.detach(), expected.detach())
    assert layer.seen == (CAUSAL, None, True)
    decoder = decoder_layer(NoMemory, norm_first=norm_first)
    np.testing.assert_array_equal(decoder(X, MEMORY).detach(), decoder(X, 3 * MEMORY).detach())


class Wrapped(nn.TransformerEncoderLayer):
    def _sa_block(self, x, *args, **kwargs):
        return 2 * super()._sa_block(x, *args, **kwargs)

    def _ff_block(self, x):
        return 2 * super()._ff_block(x)


def test_a_subclass_calls_the_blocks():
    layer = encoder_layer(Wrapped)
    x = layer.norm1(X + 2 * layer.self_attn(X, X, X)[0])
    y = layer.norm2(x + 2 * layer.linear2(layer.linear1(x).relu()))
    np.testing.assert_allclose(layer(X).detach(), y.detach(), rtol=1e-5, atol=1e-6)


def test_out_proj_has_a_class_of_its_own():
    """Programs choose layers by `type(m) is nn.Linear`, and leave out_proj alone."""
    model = encoder_layer()
    assert type(model.self_attn.out_proj) is NonDynamicallyQuantizableLinear
    assert isinstance(model.self_attn.out_proj, nn.Linear)
    assert sum(type(module) is nn.Linear for module in model.modules()) == 2


def test_the_choice_of_the_fast_way_is_an_attribute():
    layer = encoder_layer(activation="gelu")
    assert layer.activation_relu_or_gelu == 2
    layer.activation_relu_or_gelu = 0
    assert layer.activation_relu_or_gelu == 0


# --- casts
class KeepsDtype(nn.Module):
    """As a metric of torchmetrics: its sums keep their dtype when a network is cast, but not with `to`."""

    def __init__(self):
        super().__init__()
        self.register_buffer("total", rv.zeros(()))
        self.asked = []

    def _apply(self, fn, recurse=True):
        self.asked.append(str(fn))
        if any(f"Module.{name}." in str(fn) for name in ("type", "half", "float", "double", "bfloat16")):
            return self
        return super()._apply(fn, recurse)


CASTS = {
    "half": lambda module: module.half(),
    "bfloat16": lambda module: module.bfloat16(),
    "double": lambda module: module.double(),
    "float": lambda module: module.float(),
    "type": lambda module: module.type(rv.float64),
}


@pytest.mark.parametrize("name", CASTS)
def test_a_module_knows_a_cast_by_the_name_of_its_function(name):
    model = nn.Sequential(nn.Linear(2, 2), KeepsDtype())
    CASTS[name](model)
    assert model[1].total.dtype == rv.float32
    assert [text.startswith(f"<function Module.{name}.") for text in model[1].asked] == [True]


def test_other_conversions_have_names_too():
    module = KeepsDtype()
    module.to(rv.float64).cpu().to_empty(device="cpu")
    names = [text.split(".")[1] for text in module.asked]
    assert names == ["to", "cpu", "to_empty"]
    assert module.total.dtype == rv.float64


def test_a_cast_does_not_call_to():
    """`half` converts by `_apply`, so a `to` of the module's own is not asked."""

    class Refusing(nn.Linear):
        def to(self, *args, **kwargs):
            raise AssertionError

    assert Refusing(2, 2).half().weight.dtype == rv.float16


def test_type_casts_whole_numbers_too():
    module = nn.BatchNorm1d(2)
    assert module.half().num_batches_tracked.dtype == rv.int64
    assert module.type(rv.float64).num_batches_tracked.dtype == rv.float64
    with pytest.raises(TypeError, match=r"\[type\] got int32 for a parameter that requires gradients"):
        module.type(rv.int32)
    assert module.requires_grad_(False).type(rv.int32).weight.dtype == rv.int32
