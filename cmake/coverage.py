"""The lines and branches of cpp/base, cpp/bindings and cpp/program that have run (preset `coverage`).

``python cmake/coverage.py [PATH]`` prints a table; with a folder or file in cpp also the lines that were
not run and the branches that went one way only. Edges of exceptions are left out.
"""

import collections
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("cpp/base", "cpp/bindings", "cpp/program")
# their code runs in kernels, which are compiled without counts
UNCOUNTED = ("cpp/base/congruence.h", "cpp/base/loop_nest.h", "cpp/base/short_runs.h")


def counts() -> tuple[dict[str, dict[int, int]], dict[str, dict[tuple[int, int], int]]]:
    """How often each line, and each branch of a line, was run; sums over all instantiations."""
    lines: dict = collections.defaultdict(collections.Counter)
    branches: dict = collections.defaultdict(collections.Counter)
    for data in sorted((ROOT / "build/coverage").rglob("*.gcda")):
        command = ["gcov", "--json-format", "--stdout", "--branch-probabilities", str(data)]
        for file in json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["files"]:
            path = str(pathlib.Path(ROOT, file["file"]).resolve()).removeprefix(f"{ROOT}/")
            for line in file["lines"] if path.startswith(FOLDERS) and path not in UNCOUNTED else ():
                lines[path][line["line_number"]] += line["count"]
                taken = line["branches"]
                for i, branch in enumerate(taken):
                    if not any(b["throw"] for b in taken[i : i + 2]):  # that edge and its other side
                        branches[path][line["line_number"], i] += branch["count"]
    return lines, branches


lines, branches = counts()
for folder in FOLDERS:
    for what, runs in (("lines", lines), ("branches", branches)):
        all_runs = [n for path in runs if path.startswith(folder) for n in runs[path].values()]
        reached = sum(n > 0 for n in all_runs)
        print(f"{folder:13} {what:9} {reached:6} of {len(all_runs):6} {100 * reached / len(all_runs):6.1f} %")
for path in sorted(lines if sys.argv[1:] else ()):
    if path.startswith(sys.argv[1]):
        text = ["", *(ROOT / path).read_text().splitlines()]
        missed = {n for n, run in lines[path].items() if not run}
        halves = {n for (n, _), run in branches[path].items() if not run} - missed
        for n in sorted(missed | halves):
            print(f"{path}:{n}: {'not run' if n in missed else 'one way'}: {text[n].strip()}")
