"""The instrumented tree: a copy of the sources with every drawn C++ mutant; a switch selects one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from mutation import cpp_sites
from mutation.parts import PARTS
from mutation.sites import Site, drawn, load, save, shuffled

ROOT = Path(__file__).resolve().parents[2]
STATE = Path(os.environ.get("RANVIER_MUTATION_STATE", ROOT / "build" / "mutation"))
OTHER_LEVELS = {  # what a tree of one level does not compile
    "v4": {"avx2.h", "portable.h", "sse4.h"},
    "v3": {"avx512.h", "portable.h", "sse4.h"},
}
MOST = 10000  # numbers of switches
TREE, ORIGINAL = STATE / "tree", STATE / "original"
SWITCH_H = """#pragma once
// Written by tests/mutation: which mutant is on, and which were reached.
enum class RanvierReached : unsigned short { no, yes };  // a separate type: its stores alias nothing
extern "C" __attribute__((visibility("default"))) int ranvier_mutant;
extern "C" __attribute__((visibility("default"))) RanvierReached ranvier_reached[];
#define RANVIER_MUTANT(n) (ranvier_reached[n] = RanvierReached::yes, ranvier_mutant == (n))
"""
SWITCH_CPP = """#include <cstdlib>
int ranvier_mutant = 0;
RanvierReached ranvier_reached[{count}];
__attribute__((constructor(101))) static void read_mutant() {{
  if (const char* wanted = std::getenv("RANVIER_MUTANT")) ranvier_mutant = std::atoi(wanted);
}}
"""


def draw(seed: int) -> list[Site]:
    """The mutants of all parts, numbered, without those that do not compile."""
    invalid = _invalid()
    chosen: list[Site] = []
    for part in PARTS:
        files = sorted({f for glob in part.files for f in ORIGINAL.glob(glob)})
        candidates = []
        for file in files:
            if file.name in OTHER_LEVELS[_level()]:
                continue
            name = str(file.relative_to(ORIGINAL))
            candidates += cpp_sites.sites_of(name, _original(name))
        taken = {site.key for site in chosen}
        order = [site for site in shuffled(part.name, candidates, seed) if site.key not in taken]
        chosen += [site for site in drawn(order, part.count, _apart, chosen) if site.key not in invalid]
    path = STATE / "numbers.json"  # a site keeps its number, so that few files change with the next draw
    numbers = json.loads(path.read_text()) if path.exists() else {}
    for site in chosen:
        site.number = numbers.setdefault(site.key, len(numbers) + 1)
    path.write_text(json.dumps(numbers))
    save(chosen, STATE / "sites.jsonl")
    return chosen


def _level() -> str:
    """The one ISA level of the tree."""
    return "v4" if "avx512bw" in Path("/proc/cpuinfo").read_text() else "v3"


def _original(name: str) -> str:
    return (ORIGINAL / name).read_text()


def _invalid() -> set[str]:
    path = STATE / "invalid.json"
    return set(json.loads(path.read_text())) if path.exists() else set()


def _apart(site: Site, chosen: list[Site]) -> bool:
    """Whether one file can hold the site's edits and those of the chosen ones."""
    for other in chosen:
        if other.file == site.file:
            for a, b, _ in site.where["edits"]:
                for c, d, _ in other.where["edits"]:
                    if max(a, c) <= min(b, d):
                        return False
            mine, theirs = _extent(site), _extent(other)
            inside = mine[0] >= theirs[0] and mine[1] <= theirs[1]
            around = mine[0] <= theirs[0] and mine[1] >= theirs[1]
            if not (inside or around or mine[1] < theirs[0] or theirs[1] < mine[0]):
                return False
    return True


def _extent(site: Site) -> tuple[int, int]:
    edits = site.where["edits"]
    return min(e[0] for e in edits), max(e[1] for e in edits)


def copy_sources() -> None:
    """A fresh copy of the files that git tracks and of the new ones."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file():
            for base in (ORIGINAL, TREE):
                (base / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, base / name)


def instrument(sites: list[Site]) -> None:
    """Writes the switches of the C++ sites into the tree; files that do not change keep their time."""
    by_file: dict[str, list[Site]] = defaultdict(list)
    for site in sites:
        by_file[site.file].append(site)
    for path in sorted((ORIGINAL / "cpp").rglob("*.*")):
        name = str(path.relative_to(ORIGINAL))
        text = path.read_text()
        edits = [(a, b, new.replace("@", str(s.number)), s.number)
                 for s in by_file.get(name, []) for a, b, new in s.where["edits"]]  # fmt: skip
        for a, b, new, _ in sorted(edits, reverse=True):
            text = text[:a] + new + text[b:]
        _write(TREE / name, text)
    _write(TREE / "cpp/base/mutant_switch.h", SWITCH_H)
    _write(TREE / "cpp/base/mutant_switch.cpp", SWITCH_CPP.format(count=MOST))
    levels = _original("cmake/isa.cmake")
    levels = levels.replace("set(RANVIER_LEVELS v4 v3 v2)", f"set(RANVIER_LEVELS {_level()})")
    levels = levels.replace(
        "-Wall -Wextra", "-w -Werror=vla -include ${CMAKE_SOURCE_DIR}/cpp/base/mutant_switch.h"
    )
    _write(TREE / "cmake/isa.cmake", levels)


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def build(seed: int, jobs: int) -> None:
    """Draws, instruments and compiles until everything drawn compiles."""
    folder = STATE / "cmake"
    while True:
        sites = draw(seed)
        instrument(sites)
        if not (folder / "build.ninja").exists():
            configure = ["cmake", "-S", TREE, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Mutation"]
            configure += ["-DCMAKE_CXX_FLAGS_MUTATION=-O1 -DNDEBUG", "-DRANVIER_IN_PLACE=ON"]
            if shutil.which("ccache"):
                configure.append("-DCMAKE_CXX_COMPILER_LAUNCHER=ccache")
            configure.append(f"-DPython_EXECUTABLE={sys.executable}")
            subprocess.run([str(word) for word in configure], check=True, stdout=subprocess.DEVNULL)
        make = ["ninja", "-C", str(folder), "-k", "0", "-j", str(jobs)]
        done = subprocess.run(make, capture_output=True, text=True)
        (STATE / "build.log").write_text(done.stdout + done.stderr)
        if done.returncode == 0:
            print(f"{len(sites)} mutants in {STATE}")
            return
        bad = _not_compiled(done.stdout, sites)
        if not bad:
            raise SystemExit(f"the instrumented tree does not compile: see {STATE / 'build.log'}")
        print(f"{len(bad)} drawn sites do not compile and are left out", flush=True)
        (STATE / "invalid.json").write_text(json.dumps(sorted(_invalid() | {s.key for s in bad})))


def _not_compiled(output: str, sites: list[Site]) -> list[Site]:
    """The sites on the lines that the compiler complains about."""
    lines = set(re.findall(r"(cpp/[\w./]+):(\d+):\d+: +(?:error|note|  required)", output))
    lines |= set(re.findall(r"(cpp/[\w./]+):(\d+):\d+:\s+(?:recursively )?required", output))
    direct = set(re.findall(r"(cpp/[\w./]+):(\d+):\d+: +(?:fatal )?error", output))
    for wanted in (direct, lines):
        bad = []
        for site in sites:
            span = _original(site.file)[slice(*_extent(site))].count("\n")
            start = _original(site.file)[: _extent(site)[0]].count("\n") + 1
            if any((site.file, str(n)) in wanted for n in range(start, start + span + 1)):
                bad.append(site)
        if bad:
            return bad
    return [near for name, line in direct if (near := _nearest(name, int(line), sites))][:1]


def _nearest(name: str, line: int, sites: list[Site]) -> Site | None:
    """The last site before a line that the compiler complains about: the end of a long initializer, say."""
    before = [s for s in sites if s.file == name and s.line <= line]
    return max(before, key=lambda s: s.line, default=None)


def sites() -> list[Site]:
    return load(STATE / "sites.jsonl")
