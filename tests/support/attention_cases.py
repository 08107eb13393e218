"""Attention layers whose outputs and gradients are compared with PyTorch's.

Run with torch to write attention.json anew: ``python tests/support/attention_cases.py``.
"""

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent.parent / "nn" / "attention.json"
DIGITS = 12  # stored after the decimal point
N, L, S, E = 2, 3, 4, 4


def values(seed, *shape):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def bools(seed, *shape):
    """Some of them True; none in the first column, so that nothing is hidden altogether."""
    mask = values(seed, *shape) > 0
    mask[..., 0] = False
    return mask


def later(length):
    """What PyTorch calls the mask of a decoder: True where a key comes after the query."""
    return np.triu(np.ones((length, length), bool), 1)


def encoder(nn, layers, norm, *args, **kwargs):
    layer = nn.TransformerEncoderLayer(*args, **kwargs)
    return nn.TransformerEncoder(layer, layers, nn.LayerNorm(args[0]) if norm else None, False)


def itself(*shape):
    """A query that is key and value, too."""
    x = values(1, *shape)
    return [x, x, x]


def three(*shapes):
    return [values(seed, *shape) for seed, shape in enumerate(shapes, 1)]


# name -> (make(nn), inputs, the other arguments of the call)
CASES = {
    "self": (lambda nn: nn.MultiheadAttention(E, 2), itself(L, N, E), {}),
    "self, batch first, no weights": (
        lambda nn: nn.MultiheadAttention(E, 2, batch_first=True),
        itself(N, L, E),
        {"need_weights": False, "attn_mask": later(L)},
    ),
    "self, padded": (
        lambda nn: nn.MultiheadAttention(E, 2, bias=False),
        itself(L, N, E),
        {"key_padding_mask": bools(5, N, L), "average_attn_weights": False},
    ),
    "self, alone": (lambda nn: nn.MultiheadAttention(E, 4), itself(L, E), {"key_padding_mask": bools(5, L)}),
    "cross": (
        lambda nn: nn.MultiheadAttention(E, 2, batch_first=True),
        three((N, L, E), (N, S, E), (N, S, E)),
        {"attn_mask": values(6, N * 2, L, S)},
    ),
    "cross, other widths": (
        lambda nn: nn.MultiheadAttention(E, 2, kdim=3, vdim=5),
        three((L, N, E), (S, N, 3), (S, N, 5)),
        {"attn_mask": values(6, L, S), "key_padding_mask": values(7, N, S), "average_attn_weights": False},
    ),
    "encoder layer": (
        lambda nn: nn.TransformerEncoderLayer(E, 2, 6, 0.0),
        [values(1, L, N, E)],
        {"src_key_padding_mask": bools(5, N, L)},
    ),
    "encoder layer, norm first": (
        lambda nn: nn.TransformerEncoderLayer(
            E, 2, 6, 0.0, "gelu", 1e-3, batch_first=True, norm_first=True, bias=False
        ),
        [values(1, N, L, E)],
        {"src_mask": later(L)},
    ),
    "encoder": (
        lambda nn: encoder(nn, 2, True, E, 2, 6, 0.0, batch_first=True),
        [values(1, N, L, E)],
        {"mask": values(6, L, L), "src_key_padding_mask": values(5, N, L)},
    ),
    "encoder, causal": (
        lambda nn: encoder(nn, 2, False, E, 1, 6, 0.0, activation="gelu"),
        [values(1, L, E)],
        {"mask": later(L), "is_causal": True},
    ),
    "decoder layer": (
        lambda nn: nn.TransformerDecoderLayer(E, 2, 6, 0.0, "gelu"),
        three((L, N, E), (S, N, E)),
        {"tgt_mask": later(L), "memory_key_padding_mask": bools(5, N, S)},
    ),
    "transformer": (
        lambda nn: nn.Transformer(E, 2, 1, 2, 6, 0.0, "gelu", batch_first=True),
        three((N, S, E), (N, L, E)),
        {"src_key_padding_mask": bools(5, N, S), "tgt_mask": later(L), "memory_mask": values(6, L, S)},
    ),
    "layer norm": (lambda nn: nn.LayerNorm((L, E), 1e-3), [values(1, N, L, E)], {}),
}


def result(library, make, inputs, arguments):
    """The outputs, and the gradients of inputs and parameters for an uneven sum of the first, as lists."""
    tensor = library.tensor
    model = make(library.nn).double().train()
    model.load_state_dict(
        {
            name: tensor(values(10 + i, *value.shape))
            for i, (name, value) in enumerate(model.state_dict().items())
        }
    )
    leaves = {id(x): tensor(x, requires_grad=True) for x in inputs}
    arguments = {k: tensor(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    found = model(*(leaves[id(x)] for x in inputs), **arguments)
    outputs = [y for y in found if y is not None] if isinstance(found, tuple) else [found]
    sum((y * tensor(values(9, *y.shape))).sum() for y in outputs).backward()
    gradients = [x.grad for x in (*leaves.values(), *model.parameters())]
    return {
        "outputs": [y.detach().numpy().round(DIGITS).tolist() for y in outputs],
        "gradients": [g.numpy().round(DIGITS).tolist() for g in gradients],
    }


if __name__ == "__main__":
    import torch

    FILE.write_text(json.dumps({name: result(torch, *case) for name, case in CASES.items()}) + "\n")
