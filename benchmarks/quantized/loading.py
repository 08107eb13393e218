"""Models that are mapped from files: ``python -m benchmarks.quantized.loading [--write]``.

LAYERS Linear layers of WIDTH by WIDTH, saved by `rv.save` in each form. A fresh process for each row and
round, in turns: it imports ranvier, then loads the file and predicts one row. "memory": what the process has
in memory (resident) after that, less what it had before, over the size of the file. "time": of the processor,
for `rv.load` and the first prediction, the median of the rounds; the file is in the system's cache.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import ranvier as rv
from ranvier import nn

from benchmarks import marked
from benchmarks.quantized.networks import DOCS

LAYERS, WIDTH = 8, 4096
FORMS: dict[str, dict[str, Any]] = {
    "int8, group=None": {"dtype": "int8", "group": None},
    "int8": {"dtype": "int8"},
    "int4": {"dtype": "int4"},
}


def resident() -> int:
    """Bytes of this process in memory (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def first_prediction(path: str) -> dict[str, float]:
    """Of a fresh process: the bytes that it needs for a file, and the seconds to the first prediction."""
    with rv.no_grad():
        nn.Linear(4, 4)(rv.zeros(1, 4))
        before, start = resident(), time.process_time()
        model = rv.load(path)
        y = model(rv.ones(1, WIDTH, dtype=next((p.dtype for p in model.parameters()), "float32")))
        seconds = time.process_time() - start
    assert y.shape == (1, WIDTH)
    return {"bytes": resident() - before, "seconds": seconds}


def write_files(folder: Path) -> dict[str, Path]:
    model = nn.Sequential(*[nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)]).eval()
    files = {}
    for name, form in FORMS.items():
        files[name] = folder / f"{len(files)}.safetensors"
        rv.save(rv.quantize(model, **form), files[name])
    files["bfloat16"] = folder / "bfloat16.safetensors"
    rv.save(model.bfloat16(), files["bfloat16"])
    return files


def measured(files: dict[str, Path], rounds: int) -> dict[str, list[dict[str, float]]]:
    """All rounds of each file; the files take turns."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in files}
    for _ in range(rounds):
        for name, path in files.items():
            command = [sys.executable, "-m", "benchmarks.quantized.loading", "--file", str(path)]
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            found[name].append(json.loads(result.stdout))
    return found


def table(rounds: int) -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        files = write_files(Path(name))
        found = measured(files, rounds)
        sizes = {form: path.stat().st_size for form, path in files.items()}
    reference = median(one["seconds"] for one in found["bfloat16"])
    lines = ["| form | file, MB | memory over the file | processor time, bfloat16 = 1 |", "|---|---|---|---|"]
    for form, records in found.items():
        memory = max(one["bytes"] for one in records) / sizes[form]
        seconds = median(one["seconds"] for one in records) / reference
        lines.append(f"| {form} | {sizes[form] / 1e6:.0f} | {memory:.2f} | {seconds:.2f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--file", help="what a fresh process does")
    parser.add_argument("--write", action="store_true", help="the table into docs/quantized.md")
    settings = parser.parse_args()
    if settings.file:
        print(json.dumps(first_prediction(settings.file)))
        return
    lines = table(settings.rounds)
    print("\n".join(lines))
    if settings.write:
        marked.write(DOCS / "quantized.md", "loading: python -m benchmarks.quantized.loading", lines)


if __name__ == "__main__":
    main()
