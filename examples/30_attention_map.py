"""A small language model that sorts: the tokens that it writes, and its attention for each."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn, optim

LENGTH, BATCH, UPDATES = 6, 64, 400
TOKENS = 2 * LENGTH  # "502143>01234" reads a list and an arrow, then writes; the last digit is never read
ARROW = 10


class Sorter(nn.Module):
    """A transformer of two layers with a causal mask, as GPT has."""

    def __init__(self, width: int = 48, heads: int = 2) -> None:
        super().__init__()
        self.meaning = nn.Embedding(11, width)
        self.place = nn.Parameter(0.02 * rv.randn(TOKENS, width))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2)
        self.norm = nn.LayerNorm(width)
        self.scores = nn.Linear(width, 11)

    def forward(self, tokens):
        x = self.layers(self.meaning(tokens) + self.place[: tokens.shape[1]], is_causal=True)
        return self.scores(self.norm(x))  # for each place: the scores of the next token

    def attention(self, tokens) -> np.ndarray:
        """The attention weights of the second layer: (heads, TOKENS, TOKENS)."""
        first, second = self.layers.layers
        with rv.no_grad():
            x = second.norm1(first(self.meaning(tokens) + self.place[: tokens.shape[1]], is_causal=True))
            _, weights = second.self_attn(x, x, x, average_attn_weights=False, is_causal=True)
        return weights.numpy()[0]


def sequences(rng: np.random.Generator, count: int) -> np.ndarray:
    """Digits, an arrow, the same digits in order: (count, 2 LENGTH + 1)."""
    digits = rng.integers(0, 10, (count, LENGTH))
    return np.concatenate([digits, np.full((count, 1), ARROW), np.sort(digits, axis=1)], axis=1)


def trained(rng: np.random.Generator) -> Sorter:
    rv.manual_seed(0)
    model = Sorter()
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, UPDATES)

    @rv.compile
    def update(read, following):
        optimizer.zero_grad()
        scores = model(read)[:, LENGTH:]  # the digits before the arrow are random: nothing to learn
        loss = F.cross_entropy(scores.reshape(-1, 11), rv.flatten(following))
        loss.backward()
        optimizer.step()
        return loss

    for i in range(UPDATES):
        batch = sequences(rng, BATCH)
        loss = update(np.ascontiguousarray(batch[:, :-1]), np.ascontiguousarray(batch[:, LENGTH + 1 :]))
        schedule.step()
        if (i + 1) % 100 == 0:
            print(f"update {i + 1}: loss {loss.item():.4f}")
    return model


def written(model: Sorter, digits: np.ndarray) -> np.ndarray:
    """Token by token: the most likely one is appended, and the whole sequence is read again for the next."""
    tokens = np.concatenate([digits, np.full((len(digits), 1), ARROW)], axis=1)
    model.eval()
    with rv.no_grad():
        for _ in range(LENGTH):
            following = model(rv.tensor(tokens)).numpy()[:, -1].argmax(1)
            tokens = np.concatenate([tokens, following[:, None]], axis=1)
    return tokens[:, LENGTH + 1 :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    rng = np.random.default_rng(0)
    model = trained(rng)
    tests = sequences(rng, 500)
    right = (written(model, tests[:, :LENGTH]) == tests[:, LENGTH + 1 :]).all(axis=1)

    one = np.array([[7, 2, 9, 4, 0, 5, ARROW, 0, 2, 4, 5, 7]])
    read = ["→" if token == ARROW else str(token) for token in one[0]]
    figure, panels = plt.subplots(1, 2, figsize=(13, 3.8), layout="constrained")
    for head, (panel, weights) in enumerate(zip(panels, model.attention(rv.tensor(one)), strict=True), 1):
        writing = weights[LENGTH:].round(2)  # the places at which something is written
        rv.plot.heatmap(writing, x_names=read, y_names="024579", x="looks at", y="writes", ax=panel)
        panel.set_title(f"second layer, head {head}")
    figure.savefig(out / "30_attention_map.png", dpi=90)

    first = tests[:1, :LENGTH]
    print(f"it reads {first[0].tolist()} and writes {written(model, first)[0].tolist()}")
    print(f"lists of {LENGTH} digits written in order: {right.mean():.3f} of {len(tests)}")


if __name__ == "__main__":
    main()
