"""torchaudio's compiled operators, `torch.ops.torchaudio`: recursive filters and alignment of labels, in
NumPy.

`torch.ops.load_library` imports this file, whose end registers the operators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier import Tensor, from_numpy
from ranvier.tensors.failures import OpError
from ranvier.torch.operators.library import Library


def _lfilter_core_loop(waveform: Tensor, a_coeffs_flipped: Tensor, padded_output: Tensor) -> None:
    """A recursive filter: y[i] = x[i] - sum over j >= 1 of a[j] y[i - j].

    waveform: x (n, c, length).
    a_coeffs_flipped: a (c, order), the last one first.
    padded_output: (n, c, length + order - 1): begins with the order - 1 values of y before x; y is written
        after them.

    >>> y = from_numpy(np.zeros((1, 1, 4), np.float32))
    >>> _lfilter_core_loop(from_numpy(np.ones((1, 1, 3), np.float32)), from_numpy(np.float32([[-0.5, 1]])), y)
    >>> y
    tensor([[[0.0000, 1.0000, 1.5000, 1.7500]]])
    """
    x = waveform.detach().numpy()
    a = a_coeffs_flipped.detach().numpy()[:, :-1]  # without a[0], which is 1
    y = padded_output.detach().numpy().copy()
    earlier = a.shape[1]  # how many earlier values of y each new one reads
    for i in range(x.shape[2]):
        feedback = (y[..., i : i + earlier] * a).sum(-1)
        y[..., earlier + i] = x[..., i] - feedback
    padded_output.copy_(from_numpy(y))


def _overdrive_core_loop(x: Tensor, temp: Tensor, last_in: Tensor, last_out: Tensor, output: Tensor) -> None:
    """The filter of torchaudio's overdrive, written to `output`.

    output[i] = x[i] / 2 + 0.75 o[i], where o[i] = temp[i] - temp[i - 1] + 0.995 o[i - 1]. x, temp and output:
    (n, length). last_in, last_out, (n,): temp[-1] and o[-1], those before the first.
    """
    t = temp.detach().numpy()
    o = output.detach().numpy().copy()
    earlier_t = last_in.detach().numpy()
    earlier_o = last_out.detach().numpy()
    for i in range(t.shape[1]):
        o[:, i] = t[:, i] - earlier_t + t.dtype.type(0.995) * earlier_o
        earlier_t = t[:, i]
        earlier_o = o[:, i]
    output.copy_(x.detach() * 0.5 + from_numpy(o) * 0.75)


def forced_align(
    log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int
) -> tuple[Tensor, Tensor]:
    """The most likely path of labels through log_probs, a label or `blank` for each step; and log_probs.

    log_probs: (1, steps, classes).
    targets: (1, labels).

    The path is (1, steps). Viterbi's algorithm; its states are the labels with a blank before, between and
    after them. From one step to the next, the path stays in its state, goes to the next one, or from a label
    to the label after it if they differ: two equal labels need a blank between them.

    Raises OpError for a batch, and for fewer steps than the labels need.
    """
    p = log_probs.detach().numpy()
    labels = targets.numpy()
    if p.ndim != 3 or len(p) != 1 or labels.ndim != 2 or len(labels) != 1:
        shapes = f"got log_probs of shape {log_probs.shape} and targets of {targets.shape}"
        raise OpError(f"[forced_align] {shapes}; expected (1, t, classes) and (1, labels)")
    steps = int(input_lengths[0])
    labels = labels[0, : int(target_lengths[0])]
    repeated = int((labels[1:] == labels[:-1]).sum())
    if steps < len(labels) + repeated:
        lengths = f"got {steps} steps for {len(labels)} labels, {repeated} of them as the one before"
        raise OpError(f"[forced_align] {lengths}; expected {len(labels) + repeated} steps or more")
    states = np.full(2 * len(labels) + 1, blank, labels.dtype)
    states[1::2] = labels
    may_skip_blank = np.zeros(len(states), bool)  # whether a path may come from two states before
    may_skip_blank[3::2] = labels[1:] != labels[:-1]

    # best[s]: the log probability of the best path to state s; it starts with the first blank or label.
    # back[t, s]: by how many states that path advanced at step t.
    best = np.full(len(states), -np.inf, p.dtype)
    best[:2] = p[0, 0, states[:2]]
    back = np.zeros((steps, len(states)), np.int64)
    for t in range(1, steps):
        by_advance = np.full((3, len(states)), -np.inf, p.dtype)
        by_advance[0] = best
        by_advance[1, 1:] = best[:-1]
        by_advance[2, 2:] = np.where(may_skip_blank[2:], best[:-2], -np.inf)
        back[t] = by_advance.argmax(0)
        best = by_advance.max(0) + p[0, t, states]

    # The path ends with the last blank or the last label, and is followed from its end.
    state = len(states) - 1
    if len(states) > 1 and best[-1] <= best[-2]:
        state -= 1
    path = np.full((1, p.shape[1]), blank, labels.dtype)  # steps after input_lengths[0] stay blank
    for t in reversed(range(steps)):
        path[0, t] = states[state]
        state -= back[t, state]
    return from_numpy(path), log_probs


def is_align_available() -> bool:
    return True


def cuda_version() -> None:
    return None  # there is no CUDA


_LENGTHS = "Tensor targets, Tensor input_lengths, Tensor target_lengths, int blank"
_KERNELS: dict[str, Callable[..., Any]] = {  # schema -> the function of the operator
    "_lfilter_core_loop(Tensor waveform, Tensor a_coeffs_flipped, Tensor(a!) padded_output) -> ()": (
        _lfilter_core_loop
    ),
    "_overdrive_core_loop(Tensor x, Tensor temp, Tensor last_in, Tensor last_out, Tensor(a!) output) -> ()": (
        _overdrive_core_loop
    ),
    f"forced_align(Tensor log_probs, {_LENGTHS}) -> (Tensor, Tensor)": forced_align,
}
_library = Library("torchaudio", "DEF")
for _schema, _kernel in _KERNELS.items():
    _library.impl(_library.define(_schema), _kernel)
# This one has no function here, so a call raises an error with its name.
_library.define(
    f"rnnt_loss_forward(Tensor logits, {_LENGTHS}, float clamp, bool fused=True) -> (Tensor, Tensor?)"
)
_properties = Library("_torchaudio", "DEF")
_properties.impl(_properties.define("is_align_available() -> bool"), is_align_available)
_properties.impl(_properties.define("cuda_version() -> int?"), cuda_version)
