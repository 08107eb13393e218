"""Adapters beside a frozen base of few bits: ``python -m benchmarks.quantized.adapters [--write]``.

A transformer of WIDTH learns characters of the pages in docs for PRETRAINED steps. Then adapters of rank RANK
beside its Linear layers (LoRA) learn Python's source code for STEPS steps, with the base in float32 and in
the forms of `rv.quantize`: the same batches, the same starting values. "loss": the mean of the last LAST
steps over that with the base in float32, the mean and the greatest of the seeds. "memory": of the base's
parameters and buffers over float32's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn, optim

from benchmarks import marked
from benchmarks.quantized.networks import DOCS, Array

WIDTH, HEADS, LAYERS, CONTEXT, BATCH = 256, 4, 3, 64, 8
PRETRAINED, STEPS, LAST, RANK = 300, 100, 10, 8
FORMS: dict[str, dict[str, Any]] = {
    "int8, group=None": {"dtype": "int8", "group": None},
    "int8": {"dtype": "int8"},
    "int4": {"dtype": "int4"},
}


class Block(nn.Module):
    """Attention to what stands before, then a network of two layers, each added to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.into_heads, self.from_heads = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Any) -> Any:
        heads = self.into_heads(self.norm1(x)).reshape(*x.shape[:2], 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], is_causal=True)
        x = x + self.from_heads(y.permute(0, 2, 1, 3).reshape(*x.shape))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Writer(nn.Module):
    """Scores of the next character at each place of a text (N, length): (N, length, characters)."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.meaning, self.place = nn.Embedding(characters, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*[Block() for _ in range(LAYERS)])
        self.norm, self.scores = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, characters)

    def forward(self, text: Any) -> Any:
        x = self.meaning(text) + self.place(rv.arange(text.shape[1]))
        return self.scores(self.norm(self.blocks(x)))


class Adapted(nn.Module):
    """A frozen layer and a product of two thin matrices beside it, which is 0 at first."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.base = base
        self.thin = nn.Linear(base.in_features, RANK, bias=False)
        self.wide = nn.Linear(RANK, base.out_features, bias=False)
        nn.init.zeros_(self.wide.weight)

    def forward(self, x: Any) -> Any:
        return self.base(x) + self.wide(self.thin(x))


def adapt(model: nn.Module) -> list[Any]:
    """Puts adapters beside the Linear layers of the blocks; their parameters, which alone are trained."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    trained = []
    for block in model.blocks:
        for name, layer in [*block.named_children()]:
            if isinstance(layer, (nn.Linear, nn.quantized.Linear)):
                adapted = Adapted(layer)
                setattr(block, name, adapted)
                trained += [adapted.thin.weight, adapted.wide.weight]
    return trained


def texts() -> tuple[Array, Array, int]:
    """Two texts as numbers of characters, and how many characters there are."""
    pages = "".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md")))
    sources = sorted(Path(rv.__file__).parent.glob("nn/*.py"))
    code = "".join(file.read_text(encoding="utf-8") for file in sources)
    characters = sorted(set(pages + code))
    number = {character: i for i, character in enumerate(characters)}
    as_numbers = [np.array([number[c] for c in text]) for text in (pages, code)]
    return as_numbers[0], as_numbers[1], len(characters)


def losses(model: nn.Module, parameters: Any, text: Array, steps: int, seed: int, rate: float) -> list[float]:
    """Of each step of Adam on random places of a text."""
    optimizer, rng = optim.Adam(parameters, rate), np.random.default_rng(seed)

    @rv.compile
    def update(read: Any, following: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(read).flatten(0, 1), following.flatten())
        loss.backward()
        optimizer.step()
        return loss

    found = []
    for _ in range(steps):
        starts = rng.integers(0, len(text) - CONTEXT, (BATCH, 1))
        batch = rv.from_numpy(text[starts + np.arange(CONTEXT + 1)])
        found.append(float(update(batch[:, :-1].contiguous(), batch[:, 1:].contiguous())))
    return found


def memory(model: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


def run(seed: int) -> dict[str, tuple[float, float, float]]:
    """For each form of the base: the loss of the first step and of the last ones, and the base's memory."""
    pages, code, characters = texts()
    rv.manual_seed(seed)
    model = Writer(characters)
    losses(model, model.parameters(), pages, PRETRAINED, seed, 1e-3)
    bases = {name: rv.quantize(model, **form) for name, form in FORMS.items()}
    found = {}
    for name, base in {**bases, "float32": model}.items():
        size = memory(base)
        rv.manual_seed(seed + 1)
        values = losses(base, adapt(base), code, STEPS, seed + 1, 3e-3)
        found[name] = values[0], float(np.mean(values[-LAST:])), float(size)
    return found


def table(seeds: int) -> Iterator[str]:
    runs = [run(seed) for seed in range(seeds)]
    yield "| base | first step | last steps | over float32's: mean (greatest) | memory over float32's |"
    yield "|---|---|---|---|---|"
    for name in ("float32", *FORMS):
        first, last, size = np.transpose([one[name] for one in runs])
        _, last_of_float32, size_of_float32 = np.transpose([one["float32"] for one in runs])
        ratios = last / last_of_float32
        losses_of_base = f"{first.mean():.3f} | {last.mean():.4f} | {ratios.mean():.4f} ({ratios.max():.4f})"
        yield f"| {name} | {losses_of_base} | {size[0] / size_of_float32[0]:.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="the table into docs/quantized.md")
    settings = parser.parse_args()
    lines = list(table(settings.seeds))
    print("\n".join(lines))
    if settings.write:
        marked.write(DOCS / "quantized.md", "adapters: python -m benchmarks.quantized.adapters", lines)


if __name__ == "__main__":
    main()
