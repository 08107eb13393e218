"""A small language model that learns the Zen of Python character by character, and then writes."""

import argparse
import codecs
import contextlib
import io
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn, optim

WIDTH, HEADS, LAYERS = 128, 4, 4
BATCH, CONTEXT, UPDATES = 4, 128, 400  # CONTEXT: characters that it reads and writes at most
PROMPT = "If the "


class Writer(nn.Module):
    """A transformer with a causal mask; its output: the scores of the next character at each place."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.meaning = nn.Embedding(characters, WIDTH)
        nn.init.normal_(self.meaning.weight, 0.0, 0.02)  # no larger than what tells the places apart
        self.place = nn.Embedding(CONTEXT, WIDTH)
        nn.init.normal_(self.place.weight, 0.0, 0.02)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH))
        self.scores = nn.Linear(WIDTH, characters)

    def forward(self, text, cache=None):
        places = rv.arange(text.shape[1]) if cache is None else cache.positions(text.shape[1])
        x = self.meaning(text) + self.place(places)
        return self.scores(self.blocks(x, is_causal=True, cache=cache))


def trained(text: np.ndarray, characters: int) -> tuple[Writer, list[float]]:
    rv.manual_seed(0)
    rng = np.random.default_rng(0)
    model = Writer(characters)
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=UPDATES)

    @rv.compile
    def update(read, following):
        optimizer.zero_grad()
        loss = F.cross_entropy(rv.flatten(model(read), 0, 1), rv.flatten(following))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    losses = []
    for i in range(UPDATES):
        starts = rng.integers(0, len(text) - CONTEXT, (BATCH, 1))
        batch = text[starts + np.arange(CONTEXT + 1)]
        losses.append(update(np.ascontiguousarray(batch[:, :-1]), np.ascontiguousarray(batch[:, 1:])).item())
        schedule.step()
        if (i + 1) % 100 == 0:
            print(f"update {i + 1}: loss {np.mean(losses[-20:]):.3f}")
    return model.eval(), losses


def sampler(model: Writer, cache: nn.KeyValueCache, top: int = 8):
    """The next character after one more: one of the `top` likeliest, by softmax(scores / temperature)."""

    @rv.compile
    def following(character, temperature):
        scores = model(character, cache)[:, -1] / temperature
        least = scores.topk(top).values[:, -1:]
        scores = scores.masked_fill(scores < least, -np.inf)
        # the largest sum of a score and a Gumbel number: the same as a draw from the softmax
        return (scores - (-rv.rand_like(scores).log()).log()).argmax(-1, keepdim=True)

    return following


def written(model: Writer, cache: nn.KeyValueCache, following, alphabet: str, temperature: float):
    """A text that begins with PROMPT, and the microseconds that a character took."""
    prompt, text, temperature = [alphabet.index(c) for c in PROMPT], [], rv.tensor(temperature)
    cache.reset()
    with rv.no_grad():
        model(rv.tensor([prompt[:-1]]), cache)  # all but the last character are read in one call
        character = rv.tensor([prompt[-1:]])
        start = time.perf_counter()
        for _ in range(CONTEXT - len(prompt)):
            character = following(character, temperature)
            text.append(alphabet[character.item()])
    return PROMPT + "".join(text), (time.perf_counter() - start) / len(text) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    with contextlib.redirect_stdout(io.StringIO()):
        import this  # prints its text
    text = codecs.decode(this.s, "rot13")
    alphabet = "".join(sorted(set(text)))
    model, losses = trained(np.array([alphabet.index(c) for c in text]), len(alphabet))
    cache = nn.KeyValueCache(1, HEADS, CONTEXT, WIDTH // HEADS, LAYERS)
    following = sampler(model, cache)

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4), width_ratios=(1, 1.5), layout="constrained")
    left.plot(np.convolve(losses, np.ones(20) / 20, "valid"))
    left.set(xlabel="update", ylabel="loss of a character, mean of 20 batches")
    right.axis("off")
    for i, temperature in enumerate((0.5, 1.0, 2.0)):
        words, us = written(model, cache, following, alphabet, temperature)
        right.text(0, 1 - i / 3, f"temperature {temperature}\n{words}", family="monospace", size=9, va="top")
        print(f"temperature {temperature}: {words!r}")
    figure.savefig(out / "44_characters.png", dpi=90)
    print(
        f"{us:.0f} us a character; loss {np.mean(losses[-20:]):.3f}, of guesses {np.log(len(alphabet)):.3f}"
    )


if __name__ == "__main__":
    main()
