"""Writes reference.json, with PyTorch: `python tests/libraries/write_reference.py [job ...]`.

For each job a few numbers, and how far they move when each number that the job begins with moves by an ulp
(the most of `MOVES` runs).
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
MOVES = 4


def runs(job):
    """The results of the job with PyTorch: a list, first from unchanged numbers, then from moved ones."""
    settings = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "run.py"), job, "--moves", str(MOVES)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, env=settings, cwd=folder, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main():
    """Adds the jobs that are named, or the file's own, to the file."""
    path = HERE / "reference.json"
    table = json.loads(path.read_text()) if path.exists() else {}
    for job in sys.argv[1:] or sorted(table):
        first, *others = runs(job)
        table[job] = {
            name: [
                [float(f"{value:.9g}"), float(f"{max(abs(run[name][i] - value) for run in others):.2g}")]
                for i, value in enumerate(values)
            ]
            for name, values in first.items()
        }
        lines = [f'"{name}": {json.dumps(table[name])}' for name in sorted(table)]
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        print(job, flush=True)


if __name__ == "__main__":
    main()
