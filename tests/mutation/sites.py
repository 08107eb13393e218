"""What a mutant is, and how mutants are drawn."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Site:
    """One small change at one place. Its key is made of its text and outlives other edits."""

    file: str
    line: int
    kind: str  # operator, bound, constant, condition, statement
    before: str
    after: str
    text: str  # the source line
    key: str = ""
    part: str = ""
    number: int = 0  # the value of the switch in the instrumented core
    where: dict[str, Any] = field(default_factory=dict)  # its edits


def named(sites: list[Site]) -> list[Site]:
    """The sites of one file, each with its key."""
    seen: Counter[str] = Counter()
    for site in sites:
        text = f"{site.file}|{site.kind}|{site.text}|{site.before}|{site.after}"
        seen[text] += 1
        site.key = hashlib.sha1(f"{text}|{seen[text]}".encode()).hexdigest()[:10]
    return sites


def shuffled(part: str, sites: Iterable[Site], seed: int) -> list[Site]:
    """The sites of a part in the order in which they are drawn: it depends on the seed and the keys alone."""
    order = sorted(sites, key=lambda s: s.key)
    random.Random(f"{seed}/{part}").shuffle(order)
    for site in order:
        site.part = part
    return order


def drawn(
    order: list[Site], count: int, apart: Callable[[Site, list[Site]], bool], before: Iterable[Site] = ()
) -> list[Site]:
    """The first ``count`` sites that overlap neither one another nor those drawn before."""
    others = list(before)
    chosen: list[Site] = []
    for site in order:
        if len(chosen) == count:
            break
        if apart(site, others + chosen):
            chosen.append(site)
    return chosen


def save(sites: list[Site], path: Path) -> None:
    path.write_text("\n".join(json.dumps(asdict(s)) for s in sites) + "\n")


def load(path: Path) -> list[Site]:
    return [Site(**json.loads(line)) for line in path.read_text().splitlines()]
