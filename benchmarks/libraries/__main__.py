"""The jobs of tests/libraries, timed here and with PyTorch.

    python -m benchmarks.libraries [--rounds 3] [job ...]

`RANVIER_PEER_TORCH` is the Python that has PyTorch and the libraries; the Python that runs this has the
libraries. Each run is a process with one thread, and the two take turns. Imports and a first call are not
counted. `--profile` prints the functions that take longest here.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

JOBS = Path(__file__).parents[2] / "tests" / "libraries"


def run(command, job, *options):
    """The output of a process for a job; None if it fails."""
    paths = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    settings = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    settings["PYTHONPATH"] = os.pathsep.join(paths)  # jobs run in another folder
    with tempfile.TemporaryDirectory() as folder:
        whole = [*command, str(JOBS / "run.py"), job, *options]
        done = subprocess.run(whole, env=settings, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{job}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
    elif "--profile" in options:
        print(done.stderr)
    return None if done.returncode else json.loads(done.stdout)


def main():
    """Reads the arguments, prints a line for each job, then the geometric mean and the lowest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    here = [sys.executable, "-m", "ranvier.torch"]
    there = [os.environ.get("RANVIER_PEER_TORCH", sys.executable)]
    ratios = {}
    for job in arguments.jobs or sorted(path.stem for path in (JOBS / "jobs").glob("[a-z]*.py")):
        if arguments.profile:
            run(here, job, "--profile")
            continue
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            for command, times in ((here, ours), (there, theirs)):
                times += run(command, job, "--times", "3") or []
        if ours and theirs:
            ratios[job] = min(theirs) / min(ours)
            medians = statistics.median(theirs) / statistics.median(ours)
            times = f"{1e3 * min(ours):8.1f} ms, PyTorch {1e3 * min(theirs):8.1f}"
            print(f"{job:25} {times}: {ratios[job]:5.2f} ({medians:.2f})", flush=True)
    if ratios:
        lowest = min(ratios, key=ratios.get)
        mean = statistics.geometric_mean(ratios.values())
        print(f"{len(ratios)} jobs, geometric mean {mean:.2f}, lowest {ratios[lowest]:.2f} ({lowest})")


if __name__ == "__main__":
    main()
