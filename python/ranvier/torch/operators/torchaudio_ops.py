"""torchaudio's compiled operators, `torch.ops.torchaudio`: recursive filters and alignment of labels, in
NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier import Tensor, from_numpy
from ranvier.tensors.failures import OpError
from ranvier.torch.operators.library import Library


def _lfilter_core_loop(waveform: Tensor, a_coeffs_flipped: Tensor, padded_output: Tensor) -> None:
    """A recursive filter: y[i] = x[i] - sum over j >= 1 of a[j] y[i - j].

    x: waveform (n, c, length). a: coefficients (c, order), the last one first. y is written to
    `padded_output` (n, c, length + order - 1), which begins with the order - 1 values of y before x.

    >>> y = from_numpy(np.zeros((1, 1, 4), np.float32))
    >>> _lfilter_core_loop(from_numpy(np.ones((1, 1, 3), np.float32)), from_numpy(np.float32([[-0.5, 1]])), y)
    >>> y
    tensor([[[0.0000, 1.0000, 1.5000, 1.7500]]])
    """
    x = waveform.detach().numpy()
    a = a_coeffs_flipped.detach().numpy()[:, :-1]
    y = padded_output.detach().numpy().copy()
    before = a.shape[1]
    for i in range(x.shape[2]):
        y[..., before + i] = x[..., i] - (y[..., i : i + before] * a).sum(-1)
    padded_output.copy_(from_numpy(y))


def _overdrive_core_loop(x: Tensor, temp: Tensor, last_in: Tensor, last_out: Tensor, output: Tensor) -> None:
    """(n, length): output[i] = x[i] / 2 + 0.75 o[i], o[i] = temp[i] - temp[i - 1] + 0.995 o[i - 1]."""
    t = temp.detach().numpy()
    y = output.detach().numpy().copy()
    before = last_in.detach().numpy()
    last = last_out.detach().numpy()
    for i in range(t.shape[1]):
        last = t[:, i] - before + t.dtype.type(0.995) * last
        before = t[:, i]
        y[:, i] = last
    output.copy_(x.detach() * 0.5 + from_numpy(y) * 0.75)


def forced_align(
    log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int
) -> tuple[Tensor, Tensor]:
    """The most likely path of labels through log_probs (1, t, classes), a label for each step; and log_probs.

    Viterbi's algorithm; its states are the labels with a blank before, between and after them.

    Raises ValueError for a batch, and for fewer steps than the labels need.
    """
    p = log_probs.detach().numpy()
    labels = targets.numpy()
    if p.ndim != 3 or len(p) != 1 or labels.ndim != 2 or len(labels) != 1:
        text = f"got log_probs of shape {log_probs.shape} and targets of {targets.shape}"
        raise OpError(f"[forced_align] {text}; expected (1, t, classes) and (1, labels)")
    steps = int(input_lengths[0])
    labels = labels[0, : int(target_lengths[0])]
    again = int((labels[1:] == labels[:-1]).sum())
    if steps < len(labels) + again:
        text = f"got {steps} steps for {len(labels)} labels, {again} of them as the one before"
        raise OpError(f"[forced_align] {text}; expected {len(labels) + again} steps or more")
    states = np.full(2 * len(labels) + 1, blank, labels.dtype)
    states[1::2] = labels
    leaps = np.zeros(len(states), bool)  # states that may follow the label before the blank before them
    leaps[3::2] = labels[1:] != labels[:-1]
    best = np.full(len(states), -np.inf, p.dtype)
    best[:2] = p[0, 0, states[:2]]
    moves = np.zeros((steps, len(states)), np.int64)
    for t in range(1, steps):
        options = np.full((3, len(states)), -np.inf, p.dtype)
        options[0], options[1, 1:], options[2, 2:] = best, best[:-1], np.where(leaps[2:], best[:-2], -np.inf)
        moves[t] = options.argmax(0)
        best = options.max(0) + p[0, t, states]
    at = len(states) - 1 - int(len(states) > 1 and best[-1] <= best[-2])
    path = np.full((1, p.shape[1]), blank, labels.dtype)
    for t in range(steps - 1, -1, -1):
        path[0, t] = states[at]
        at -= moves[t, at]
    return from_numpy(path), log_probs


_LENGTHS = "Tensor targets, Tensor input_lengths, Tensor target_lengths, int blank"
_SCHEMAS = f"""
    _lfilter_core_loop(Tensor waveform, Tensor a_coeffs_flipped, Tensor(a!) padded_output) -> ()
    _overdrive_core_loop(Tensor x, Tensor temp, Tensor last_in, Tensor last_out, Tensor(a!) output) -> ()
    forced_align(Tensor log_probs, {_LENGTHS}) -> (Tensor, Tensor)
    rnnt_loss_forward(Tensor logits, {_LENGTHS}, float clamp, bool fused=True) -> (Tensor, Tensor?)
"""
_library = Library("torchaudio", "DEF")
for _schema in _SCHEMAS.strip().splitlines():
    _name = _library.define(_schema.strip())[len("torchaudio::") :]
    if _name in globals():  # a call of an operator without a function here raises an error with its name
        _library.impl(_name, globals()[_name])
_about = Library("_torchaudio", "DEF")
_answers: dict[str, Any] = {"is_align_available() -> bool": True, "cuda_version() -> int?": None}
for _schema, _answer in _answers.items():
    _about.impl(_about.define(_schema)[len("_torchaudio::") :], lambda _answer=_answer: _answer)
