"""Runs a job and prints its numbers, as JSON: `python -m ranvier.torch run.py skorch`.

In place of them, with `--times N` the seconds of N further calls, with `--moves N` a list of its numbers and
of those of N runs that begin with moved numbers (common.py). `--profile`: the functions that took longest,
on stderr. `python run.py skorch` does the same with PyTorch.
"""

import argparse
import contextlib
import cProfile
import importlib
import json
import os
import pstats
import sys
import time
import warnings
from pathlib import Path

import numpy as np

KEPT = 6  # numbers of each array


def main():
    """Reads the arguments, runs the job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job")
    parser.add_argument("--times", type=int, default=0)
    parser.add_argument("--moves", type=int, default=0)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    printed = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what libraries print is not the answer
        job = job_named(arguments.job)
        answer = numbers(run(job))
        if arguments.times:
            answer = [seconds(job) for _ in range(arguments.times)]
        if arguments.moves:
            answer = [answer, *(moved(job, k + 1) for k in range(arguments.moves))]
        if arguments.profile:
            profile = cProfile.Profile()
            profile.runcall(run, job)
            pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(30)
    print(json.dumps(answer), file=printed)


def job_named(name):
    """The function of this name, from its file in jobs/."""
    for path in (Path(__file__).parent / "jobs").glob("*.py"):
        if f"\ndef {name}():\n" in path.read_text():
            return getattr(importlib.import_module(f"jobs.{path.stem}"), name)
    raise SystemExit(f"jobs/ has no function {name}")


def run(job):
    """The job's results, from the same random numbers in each call."""
    import torch

    np.random.seed(0)  # noqa: NPY002  libraries draw from it
    torch.manual_seed(0)
    return job()


def moved(job, draw):
    """The job's numbers, from numbers that are moved by an ulp."""
    import common

    common.MOVED = draw
    return numbers(run(job))


def seconds(job):
    """How long the job takes."""
    start = time.perf_counter()
    run(job)
    return time.perf_counter() - start


def numbers(results):
    """A few numbers of each result: some of its values, evenly over the array."""
    answer = {}
    for name, values in results.items():
        if hasattr(values, "detach"):
            values = values.detach().numpy()
        flat = np.asarray(values, np.float64).ravel()
        places = np.linspace(0, flat.size - 1, min(KEPT, flat.size)).astype(int)
        answer[name] = [float(flat[i]) for i in places]
    return answer


if __name__ == "__main__":
    main()
