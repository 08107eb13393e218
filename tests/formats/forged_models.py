"""Random files of safetensors: headers, and the metadata that describe layers and values, as rv.save writes
them."""

import json
import struct

import numpy as np
from formats.forged_pickles import ODD, TEXTS
from ranvier import nn
from ranvier.serialization.files import _checksum
from safetensors.numpy import save as safetensors_of

LAYERS = [name for name in nn.__all__ if isinstance(getattr(nn, name, None), type)]
ENCODER = {"layer": "TransformerEncoderLayer", "arguments": {"d_model": 4, "nhead": 2}}
ARGUMENTS = {
    "Linear": [{"in_features": 2, "out_features": 3}, {"in_features": 2**19, "out_features": 2}],
    "Conv2d": [{"in_channels": 1, "out_channels": 2, "kernel_size": 3}],
    "BatchNorm2d": [{"num_features": 2**20}, {"num_features": 9}],
    "LSTM": [{"input_size": 2, "hidden_size": 3}],
    "Embedding": [{"num_embeddings": 2**20, "embedding_dim": 1}],
    "LayerNorm": [{"normalized_shape": [2**20]}],
    "TransformerEncoder": [{"num_layers": 1, "encoder_layer": ENCODER}],
}
NODES = "dict list tuple tensor array leaf parameter dtype layer same"
SETTINGS = """
    in_features out_features num_features in_channels out_channels kernel_size input_size hidden_size groups
    num_layers num_embeddings embedding_dim normalized_shape d_model nhead num_parameters dtype padding bias
    num_channels num_groups encoder_layer nonlinearity
"""


def _json(rng, depth=0):
    """A random value of JSON, with numbers and texts that are odd."""
    draw = rng.random()
    if depth > 6 or draw < 0.5:
        return rng.choice([*ODD, *TEXTS, None, True, 0.5, 1e308, [], {}])
    if draw < 0.7:
        return [_json(rng, depth + 1)] * rng.choice([1, 2, 2, 30 if depth > 3 else 2])
    names = rng.choices([*NODES.split(), *TEXTS], k=rng.choice([1, 1, 1, 3]))
    return {name: _json(rng, depth + 1) for name in names}


def _layer(rng, path="", depth=0):
    """A random description of a layer, as model files have it."""
    if rng.random() < 0.1:
        return {"same": rng.choice(["0", "0.0", path, "0.1"])}
    if depth < 40 and rng.random() < 0.6:
        names = rng.choice([["0", "1"], ["0"], ["a", rng.choice(TEXTS)], [*map(str, range(50))]])
        more = {"same": f"{path}.{names[0]}".lstrip(".")}
        first = _layer(rng, f"{path}.{names[0]}".lstrip("."), depth + 1)
        return {"layer": "Sequential", "children": [[names[0], first], *([name, more] for name in names[1:])]}
    name = rng.choice(LAYERS)
    arguments = dict(rng.choice(ARGUMENTS.get(name, [{}])))
    for _ in range(rng.choice([0, 0, 1, 2])):
        odd = rng.choice([*ODD[:9], "float64", [3, 3], _json(rng, 4)])
        odd = _layer(rng, path, 41) if rng.random() < 0.1 else odd
        arguments[rng.choice([*arguments, *SETTINGS.split()])] = odd
    return {"layer": name, "arguments": arguments}


def document(rng, content):
    """A file of safetensors with random metadata of this library."""
    tree = _layer(rng) if content == "model" else _json(rng)
    document = {"version": rng.choice([1] * 30 + [0, "1"]), "library": rng.choice(TEXTS), "content": content}
    arrays = {rng.choice([*TEXTS[1:], "weight"]): np.ones(rng.choice([1, 6, 2000]), np.float32)}
    document["tied"] = {rng.choice(TEXTS): rng.choice(TEXTS)} if rng.random() < 0.1 else {}
    document |= {"checksum": _checksum(tree, arrays)} if content == "checkpoint" else {}
    if rng.random() < 0.3:
        document[rng.choice(["frozen", "class_names", "input_shape"])] = _json(rng)
    return safetensors_of(arrays, {"ranvier": json.dumps(document | {content: tree})})


def header(rng):
    """A file of safetensors with a random header."""
    entries = {
        rng.choice(TEXTS): {
            "dtype": rng.choice(["F32", "BOOL", "F64", "BF16", "I8", "X", "C64"]),
            "shape": [rng.choice([0, 1, 2, 3, *ODD]) for _ in range(rng.choice([0, 1, 1, 2, 70]))],
            "data_offsets": [0, rng.choice([0, 4, 8, 16, *ODD])],
        }
        for _ in range(rng.choice([1, 1, 2]))
    }
    text = json.dumps(entries).encode() + rng.choice([b"", b"", b"[" * 10**4])
    return struct.pack("<Q", rng.choice([len(text)] * 9 + ODD) % 2**64) + text + rng.randbytes(16)
