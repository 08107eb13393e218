"""Libraries written for PyTorch, in the mode of `python -m ranvier.torch`, beside what PyTorch gives.

A job whose library is not installed is skipped; with RANVIER_ALL_LIBRARIES in the environment, as in
`.ci/run`, it fails. requirements.txt names all of them. What PyTorch gives is in reference.json, which
write_reference.py writes.
"""

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REFERENCE = json.loads((HERE / "reference.json").read_text())
JOBS = re.findall(r"^def ([a-z]\w*)\(\):", "".join(p.read_text() for p in (HERE / "jobs").glob("*.py")), re.M)
LIBRARIES = {"pykan": "kan", "stable_baselines3": "sb3_contrib", "language_models": "gguf"}
OF_PYTORCHS_NUMBERS = {"e3nn"}  # it scales activations by their moments over random numbers
EPS = 2.0**-23


def numbers(job, folder):
    """The results of the job with this library, in a separate process."""
    command = [sys.executable, "-m", "ranvier.torch", str(HERE / "run.py"), job]
    paths = os.pathsep.join(
        os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path
    )
    settings = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONPATH": paths}
    if job in OF_PYTORCHS_NUMBERS:
        settings["RANVIER_TORCH_RANDOM"] = "1"
    done = subprocess.run(command, env=settings, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("job", sorted(JOBS))
def test_a_library_gives_what_it_gives_with_pytorch(job, tmp_path):
    """Each number is as near to PyTorch's as a few runs of PyTorch are to each other whose first numbers
    differ by an ulp: 16 times the largest move, and eight ulps of one, or of the largest number beside it."""
    library = LIBRARIES.get(job, job)  # the last that it needs
    if importlib.util.find_spec(library) is None:
        (pytest.fail if "RANVIER_ALL_LIBRARIES" in os.environ else pytest.skip)(f"{library} is not installed")
    expected, given = REFERENCE[job], numbers(job, tmp_path)
    assert given.keys() == expected.keys()
    for name, pairs in expected.items():
        assert len(given[name]) == len(pairs), name
        largest = max((abs(value) for value, _ in pairs if not math.isnan(value)), default=0.0)
        largest = max(largest, 1.0)
        most = max((moved for _, moved in pairs if not math.isnan(moved)), default=0.0)
        for value, (right, _) in zip(given[name], pairs, strict=True):
            same = math.isnan(value) and math.isnan(right)
            assert same or abs(value - right) <= 16 * most + 8 * EPS * largest, (name, given[name], pairs)
