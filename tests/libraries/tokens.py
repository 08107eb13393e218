"""Language models write the same tokens as with PyTorch.

    python tests/libraries/tokens.py tokens.json                    # with PyTorch: writes the file
    python -m ranvier.torch tests/libraries/tokens.py tokens.json   # compares

Greedy texts of 64 tokens for 20 prompts, in float32 and bfloat16, with each cache. The first other token of a
text counts where PyTorch's two best logits differ by more than rounding: four times the root mean square of
what its own logits in bfloat16 and in float32 differ by. What follows such a token is another text.
`--wide`: models of more layers, heads and words.
"""

import argparse
import json
from pathlib import Path

import torch
import transformers as hf
from common import fill, labels
from jobs.text import GPT, LANGUAGE_MODELS, LLAMA

WIDE = {"vocab_size": 8000, "hidden_size": 448, "num_hidden_layers": 8, "num_attention_heads": 14}
WIDE |= {"intermediate_size": 1216, "max_position_embeddings": 256}
WIDE_GPT = {"vocab_size": 8000, "n_embd": 448, "n_layer": 8, "n_head": 14, "n_positions": 256}
DTYPES = ("float32", "bfloat16")
CACHES = {"dynamic": {}, "static": {"cache_implementation": "static"}}
KINDS = {"max_new_tokens": 64, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
KINDS |= {"return_dict_in_generate": True, "output_scores": True}


def prompts():
    """20 of 12 tokens."""
    return torch.from_numpy(labels(20, 12, classes=96, seed=3)) + 3


def logits(model):
    """Those of all prompts."""
    with torch.inference_mode():
        return model(prompts()).logits.float()


def texts(model, cache, rounding):
    """The tokens of all prompts, and how far their logits are above the next ones, in units of `rounding`."""
    with torch.inference_mode():
        written = model.generate(prompts(), **KINDS, **CACHES[cache])
    best = torch.stack([scores.float().topk(2).values for scores in written.scores], 1)
    margins = (best[..., 0] - best[..., 1]) / rounding
    return {"tokens": written.sequences[:, 12:].tolist(), "margins": margins.tolist()}


def compared(name, wanted, found):
    """Prints how many texts are equal; the number of tokens that differ by more than rounding."""
    equal = near = 0
    for right, own, margins in zip(wanted["tokens"], found["tokens"], wanted["margins"], strict=True):
        first = next((i for i, pair in enumerate(zip(right, own, strict=True)) if pair[0] != pair[1]), None)
        equal += first is None
        near += first is not None and margins[first] <= 1
    wrong = len(wanted["tokens"]) - equal - near
    print(f"{name}: {equal} equal, {near} differ by rounding, {wrong} wrong")
    return wrong


def main():
    """Reads the arguments; writes the file, or compares with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--wide", action="store_true")
    arguments = parser.parse_args()
    if arguments.wide:
        LLAMA.update(WIDE), GPT.update(WIDE_GPT)
    else:
        LLAMA["max_position_embeddings"] = GPT["n_positions"] = 256
    hf.logging.set_verbosity_error()
    found = {}
    for name, make in LANGUAGE_MODELS.items():
        model = fill(make(hf), scale=3.0).eval()
        exact = logits(model)
        for dtype in DTYPES:
            model = model.to(getattr(torch, dtype))
            rounding = max(4 * (logits(model) - exact).square().mean().sqrt().item(), 1e-4)
            found |= {f"{name} {dtype} {cache}": texts(model, cache, rounding) for cache in CACHES}
    if not arguments.file.exists():
        arguments.file.write_text(json.dumps(found))
        return
    wanted = json.loads(arguments.file.read_text())
    wrong = sum(compared(name, wanted[name], found[name]) for name in wanted)
    raise SystemExit(wrong > 0)


if __name__ == "__main__":
    main()
