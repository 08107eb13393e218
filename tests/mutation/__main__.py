"""Mutation testing: `PYTHONPATH=tests python -m mutation build | run | report`; see docs/testing.md."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys

from mutation import tree
from mutation.parts import GROUPS


def main() -> None:
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="draw the mutants and build the instrumented core")
    build.add_argument("--seed", type=int, default=13)
    build.add_argument("--jobs", type=int, default=2)
    build.add_argument("--keep", action="store_true", help="keep the copied sources, draw and build again")
    run = commands.add_parser("run", help="try every mutant that has no result yet")
    run.add_argument("groups", nargs="*", choices=[[], *GROUPS], default=[])
    run.add_argument("--again", nargs="*", default=[], metavar="KEY", help="forget these results first")
    run.add_argument("--parts", nargs="*", default=[], metavar="PART", help="the mutants of these alone")
    run.add_argument(
        "--tests", nargs="*", default=[], metavar="FILE", help="changed in the checkout: take them"
    )
    commands.add_parser("report", help="the score by part, and the survivors")
    given = parser.parse_args()
    if given.command == "build":
        if not given.keep:
            tree.copy_sources()
        tree.build(given.seed, given.jobs)
    elif given.command == "run":
        for name in given.tests:
            _take_tests(name)
        _run(given.groups or list(GROUPS), given.again, given.parts)
    else:
        from mutation.report import report

        report()


def _take_tests(name: str) -> None:
    """Copies a test file into the tree, where its tests are measured anew."""
    shutil.copy2(tree.ROOT / name, tree.TREE / name)
    for path in tree.STATE.glob("baseline-*.jsonl"):
        lines = path.read_text().splitlines()
        kept = [line for line in lines if json.loads(line)["key"].split("::")[0] != name]
        path.write_text("".join(line + "\n" for line in kept))


def _run(groups: list[str], again: list[str], parts: list[str]) -> None:
    results = tree.STATE / "results.jsonl"
    if again:
        kept = [line for line in results.read_text().splitlines() if json.loads(line)["key"] not in again]
        results.write_text("".join(line + "\n" for line in kept))
    paths = [str(tree.TREE / "python"), str(tree.ROOT / "tests")]
    for group in groups:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
        env["RANVIER_MUTATION_PARTS"] = " ".join(parts)
        subprocess.run([sys.executable, "-m", "mutation.worker", group], env=env, cwd=tree.TREE, check=False)


main()
