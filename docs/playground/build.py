"""Writes kernels.js: the helpers of rv.export.c as text and as WebAssembly, and the digits.

python docs/playground/build.py                needs emcc of Emscripten
python docs/playground/build.py --texts        the texts only, as a test compares them
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path

import ranvier as rv
from ranvier import nn
from ranvier.data.datasets import load_digits
from ranvier.export import c_source

FOLDER = Path(__file__).parent
ACTIVATIONS = ("tanh", "relu", "sigmoid", "silu", "gelu")
NAMES = {
    *("linear", "linear_dx", "linear_dw", "sum_axis", "copy", "fill", "times", "sigmoid", "sgd", "adam"),
    *("map_abs", "map_abs_backward", "map_add", "map_mul_number", "map_mul_number_backward"),
    *("loss_bce_with_logits", "loss_mse", "cross_entropy"),
    *(f"map_{name}{end}" for name in ACTIVATIONS for end in ("", "_backward")),
}


def step_of(layer: nn.Module, loss: nn.Module) -> Callable[..., rv.Tensor]:
    first = nn.Linear(2, 2)
    optimizer = rv.optim.SGD(first.parameters(), 0.1)

    def step(x: rv.Tensor, y: rv.Tensor) -> rv.Tensor:
        optimizer.zero_grad()
        total: rv.Tensor = loss(layer(first(x)), y) + first.weight.abs().sum() * 0.1
        total.backward()
        optimizer.step()
        return total

    return step


def helpers() -> dict[str, str]:
    """The texts of the helpers that the playground calls, in the order of the exporter.

    Those of gradients and losses are made where a step uses them.
    """
    layers = nn.Tanh(), nn.ReLU(), nn.Sigmoid(), nn.SiLU(), nn.GELU()
    with tempfile.TemporaryDirectory() as folder:
        for layer, loss in product(layers, (nn.MSELoss(), nn.BCEWithLogitsLoss())):
            rv.export.c(step_of(layer, loss), Path(folder, "step.c"), (rv.zeros(1, 2), rv.zeros(1, 2)))
    return {name: text for name, text in c_source._helpers().items() if name in NAMES}


def compiled(texts: dict[str, str]) -> bytes:
    exported = [re.sub(r"^static ", "", text, flags=re.M) for text in texts.values()]
    names = json.dumps([f"_{name}" for name in texts])
    with tempfile.TemporaryDirectory() as folder:
        c, wasm = Path(folder, "kernels.c"), Path(folder, "kernels.wasm")
        c.write_text(
            "\n".join(["#include <math.h>", "#include <stddef.h>", "#include <stdint.h>", *exported])
        )
        flags = [
            "-O3",
            "--no-entry",
            "-sSTANDALONE_WASM",
            "-sALLOW_MEMORY_GROWTH",
            f"-sEXPORTED_FUNCTIONS={names}",
        ]
        subprocess.run(["emcc", *flags, "-Wl,--export=__heap_base", c, "-o", wasm], check=True)
        return wasm.read_bytes()


def digits() -> dict[str, str]:
    """Pixels of 0 to 16, two in a byte as far as 15 (16 is stored as 15), and the classes."""
    x, y = load_digits()
    pixels = (x.reshape(-1, 64) * 16).round().clip(0, 15).astype("uint8")
    packed = pixels[:, ::2] << 4 | pixels[:, 1::2]
    return {"pixels": base64.b64encode(packed.tobytes()).decode(), "classes": "".join(map(str, y))}


if __name__ == "__main__":
    texts = helpers()
    if "--texts" in sys.argv:
        print(json.dumps(texts))
    else:
        content = {"helpers": texts, "wasm": base64.b64encode(compiled(texts)).decode(), "digits": digits()}
        text = f"// Written by build.py.\nconst KERNELS = {json.dumps(content, indent=1)};\n"
        (FOLDER / "kernels.js").write_text(text, encoding="utf-8")
