"""`python -m properties.table`, run in `tests`: which properties are tested on which ops, and why not.

A line for each op: `+` for a property that is tested, `-` for one that is left out. Below are the reasons,
the ops without samples, and the share of all pairs that are tested.
"""

import importlib
from collections import defaultdict
from pathlib import Path

import ranvier as rv
from ranvier import nn
from ranvier.ops.table import AT_FIRST_USE, FUNCTIONAL, WITH_LAYERS, functions_of
from samples import OPS

from properties.every import PROPERTIES


def load() -> None:
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"properties.{path.stem}")


def without_samples() -> list[str]:
    """Public functions of `ranvier.ops` and layers of `ranvier.nn` that no sample calls."""
    called = {id(op.function) for op in OPS.values()} | OPS.keys()
    every = WITH_LAYERS | AT_FIRST_USE | FUNCTIONAL
    ops = sorted(functions_of(every))
    names = [*ops, *(name for name in nn.__all__ if isinstance(getattr(nn, name), type))]
    return [name for name in names if name not in called and id(getattr(rv.ops, name, None)) not in called]


def counted() -> tuple[int, int]:
    """How many pairs of op and property are tested, and how many left out."""
    left = [name in p.left_out for p in PROPERTIES.values() for name, op in OPS.items() if p.only(op)]
    return len(left) - sum(left), sum(left)


def main() -> None:
    load()
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    print("properties:", *PROPERTIES)
    for name, op in OPS.items():
        marks = ""
        for prop, tested in PROPERTIES.items():
            mark = " " if not tested.only(op) else "-" if name in tested.left_out else "+"
            marks += mark
            if mark == "-":
                reasons[prop, tested.left_out[name]].append(name)
            for sample in op.samples if mark == "+" else ():
                if why := sample.left_out.get(prop):
                    reasons[prop, why].append(str(sample))
        print(f"{name:30} {marks}")
    print("\nleft out:")
    for (prop, why), names in reasons.items():
        print(f"{prop}: {why}: {', '.join(names)}")
    print("\nwithout samples:", *without_samples())
    tested, left_out = counted()
    share = 100 * tested / (tested + left_out)
    print(f"\n{len(OPS)} ops, {tested} pairs tested, {share:.1f} % of all that apply")


if __name__ == "__main__":
    main()
