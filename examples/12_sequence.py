"""The adding problem: the sum of two marked numbers in a long sequence, from memory."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn, optim
from ranvier.nn.utils.rnn import pack_padded_sequence

BATCH, UPDATES = 64, 1000
SHORTEST, LONGEST = 20, 40


def sequences(rng: np.random.Generator, count: int):
    """Numbers from 0 to 1, each beside a mark: x (count, LONGEST, 2), the lengths, and the sums of the two
    numbers that are marked, one in the first half of the sequence and one in the second."""
    lengths = rng.integers(SHORTEST, LONGEST + 1, count)
    x = np.zeros((count, LONGEST, 2), np.float32)
    x[..., 0] = rng.uniform(0, 1, (count, LONGEST))  # values after a sequence's end are not read
    every, half = np.arange(count), lengths // 2
    first, second = rng.integers(0, half), rng.integers(half, lengths)
    x[every, first, 1] = x[every, second, 1] = 1
    return x, lengths, x[every, first, 0] + x[every, second, 0]


class Reader(nn.Module):
    """Reads a sequence step by step; the output follows from the last state."""

    def __init__(self, kind: str, hidden: int = 32) -> None:
        super().__init__()
        self.memory = getattr(nn, kind)(2, hidden, batch_first=True)
        self.answer = nn.Linear(hidden, 1)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(rv.tensor(x), lengths, batch_first=True, enforce_sorted=False)
        _, state = self.memory(packed)  # the state after each sequence's last step
        h = state[0] if isinstance(state, tuple) else state  # an LSTM has two: h, its output, and c
        return self.answer(h[0])[:, 0]


def trained(kind: str) -> tuple[Reader, list[float]]:
    rv.manual_seed(0)
    rng = np.random.default_rng(0)
    model = Reader(kind)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(UPDATES):
        x, lengths, sums = sequences(rng, BATCH)
        optimizer.zero_grad()
        loss = F.mse_loss(model(x, lengths), rv.tensor(sums))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # a gradient through many steps may explode
        optimizer.step()
        losses.append(loss.item())
    return model, losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    x, lengths, sums = sequences(np.random.default_rng(1), 500)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(1.6, 1), layout="constrained")
    errors = {}
    for kind, style, dot in (("RNN", ":", "x"), ("LSTM", "--", "s"), ("GRU", "-", "o")):
        model, losses = trained(kind)
        with rv.no_grad():
            answers = model(x, lengths).numpy()
        errors[kind] = float(np.sqrt(np.mean((answers - sums) ** 2)))
        print(f"{kind:4} off by {errors[kind]:.3f} after {UPDATES} updates")
        smooth = np.convolve(losses, np.ones(25) / 25, "valid")  # each batch is new
        (drawn,) = left.plot(np.arange(smooth.size) + 25, smooth, style, label=kind)
        right.plot(sums[:150], answers[:150], dot, ms=4, mfc="none", color=drawn.get_color(), label=kind)
    left.axhline(np.var(sums), color="0.6", lw=1, label="always saying 1")
    left.set(xlabel="update", ylabel="squared error, mean of 25 batches", yscale="log")
    right.plot([0, 2], [0, 2], color="0.6", lw=1, zorder=0)
    right.set(xlabel="sum of the two marked numbers", ylabel="answer", aspect="equal", ylim=(-0.1, 2.1))
    left.legend()
    right.legend()
    figure.savefig(out / "12_sequence.png", dpi=90)

    best = min(errors, key=lambda kind: errors[kind])
    print(f"best: {best}, off by {errors[best]:.3f}; always saying 1: {np.std(sums):.3f}")


if __name__ == "__main__":
    main()
