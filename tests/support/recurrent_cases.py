"""Recurrent layers with settings, inputs, and what PyTorch makes of them.

`python tests/support/recurrent_cases.py` writes what PyTorch answers to tests/nn/recurrent.json.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

EXPECTED = Path(__file__).parent.parent / "nn" / "recurrent.json"
INPUTS, HIDDEN, BATCH, STEPS = 2, 3, 3, 4
LENGTHS = [2, 4, 3]

# layer, settings, whether states are given, lengths of the sequences or None for all steps
CASES: list[tuple[str, dict[str, Any], bool, list[int] | None]] = [
    ("LSTM", {}, False, None),
    ("LSTM", {"num_layers": 2, "bidirectional": True}, True, LENGTHS),
    ("LSTM", {"bias": False, "batch_first": True}, True, None),
    ("GRU", {}, True, None),
    ("GRU", {"bidirectional": True, "batch_first": True}, False, LENGTHS),
    ("RNN", {"bidirectional": True}, True, LENGTHS),
    ("RNN", {"nonlinearity": "relu", "num_layers": 2}, True, None),
    ("LSTMCell", {}, True, None),
    ("GRUCell", {}, True, None),
    ("RNNCell", {"nonlinearity": "relu"}, False, None),
]


def answers(library: Any, case: tuple[str, dict[str, Any], bool, list[int] | None]) -> dict[str, Any]:
    """Outputs, and the gradients of inputs and parameters, of a loss that weighs the outputs at random."""
    kind, settings, given, lengths = case
    nn, rnn = library.nn, library.nn.utils.rnn
    rng = np.random.default_rng(11)

    def draw(*shape: int) -> Any:
        return library.tensor(rng.uniform(-1, 1, shape), requires_grad=True)

    layer = getattr(nn, kind)(INPUTS, HIDDEN, **settings).double()
    for name, p in layer.named_parameters():
        values = np.random.default_rng(len(name)).uniform(-0.8, 0.8, tuple(p.shape))
        layer.load_state_dict({**layer.state_dict(), name: library.tensor(values)})
    of_cell = kind.endswith("Cell")
    batch_first = settings.get("batch_first", False)
    x = draw(BATCH, INPUTS) if of_cell else draw(*((BATCH, STEPS) if batch_first else (STEPS, BATCH)), INPUTS)
    rows = settings.get("num_layers", 1) * (2 if settings.get("bidirectional") else 1)
    state_shape = (BATCH, HIDDEN) if of_cell else (rows, BATCH, HIDDEN)
    states = [draw(*state_shape) for _ in range(2 if kind.startswith("LSTM") else 1)] if given else []
    hx = () if not given else (tuple(states) if len(states) == 2 else states[0],)
    packed = rnn.pack_padded_sequence(x, lengths, batch_first, enforce_sorted=False) if lengths else x
    result = layer(packed, *hx)
    outs = _flat((result,) if of_cell else result)
    if lengths:
        outs[0] = rnn.pad_packed_sequence(outs[0], batch_first, padding_value=-1.0)[0]
    loss = sum((y * library.tensor(rng.uniform(-1, 1, tuple(y.shape)))).sum() for y in outs)
    loss.backward()
    found = {f"output {i}": y for i, y in enumerate(outs)}
    found |= {f"gradient {i}": t.grad for i, t in enumerate([x, *states])}
    found |= {f"gradient {name}": p.grad for name, p in layer.named_parameters()}
    return {name: t.detach().numpy().tolist() for name, t in found.items()}


def _flat(x: Any) -> list[Any]:
    if isinstance(x, tuple) and not hasattr(x, "batch_sizes"):
        return [part for item in x for part in _flat(item)]
    return [x]


if __name__ == "__main__":
    import torch

    stored = [
        {name: np.round(values, 14).tolist() for name, values in answers(torch, case).items()}
        for case in CASES
    ]
    EXPECTED.write_text(json.dumps(stored, separators=(",", ":")) + "\n")
