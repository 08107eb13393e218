"""The score by part, and what survived."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from mutation import tree
from mutation.parts import PARTS
from mutation.worker import _results

EQUIVALENT = Path(__file__).with_name("equivalent.json")  # key -> reason


def report() -> None:
    results = _results(tree.STATE / "results.jsonl")
    equivalent = json.loads(EQUIVALENT.read_text())
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])  # drawn, killed, equivalent, survived
    extra = {part.name for part in PARTS if part.extra}
    survivors = []
    for site in tree.sites():
        result = results.get(site.key)
        if result is None:
            continue
        place = 1 if result["killed"] else 2 if site.key in equivalent else 3
        for name in (site.part,) if site.part in extra else (site.part, "all"):
            counts[name][0] += 1
            counts[name][place] += 1
        if place == 3:
            survivors.append((site, result))
    for site, result in survivors:
        tried = f"{result['tests']} tests" if result["tests"] else "reached by no test"
        print(f"{site.key} {site.file}:{site.line} {site.kind} ({tried})\n  {site.text}")
        print(f"    {site.before}\n -> {site.after}")
    head = (
        f"{'part':12} {'tried':>6} {'killed':>7} {'equivalent':>11} {'survived':>9} {'score':>7} {'raw':>7}"
    )
    print("\n" + head)  # raw: the equivalent ones counted as survivors
    names = [part.name for part in PARTS if not part.extra]
    for name in [*names, "all", *sorted(extra)]:
        tried, killed, same, survived = counts[name]
        if tried:
            score, raw = 100 * killed / max(1, tried - same), 100 * killed / tried
            print(f"{name:12} {tried:6} {killed:7} {same:11} {survived:9} {score:6.1f}% {raw:6.1f}%")
