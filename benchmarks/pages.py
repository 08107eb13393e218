"""The report's pages: a summary, and one page for each family with its pictures and tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import charts, machine, marked, summary, sweep, targets, whole

Record = Mapping[str, Any]

INTRODUCTION = """# Benchmarks

Written by `python -m benchmarks.report`. The answer of each row was checked before it was timed. Then
ranvier, each peer in a separate process, and the machine's limit were timed in turn. A ratio is the median
over the rounds.

- **A ratio above 1 means that ranvier is faster**; it is taken to the fastest peer of the row.
- "Of the limit" is the least time that this machine needs for the row's arithmetic (FMAs in registers) or
  memory traffic (a buffer of the same size), measured in the same rounds, over the time that ranvier took.
- "Captured": the step or the prediction was recorded at its first call and is replayed as one call into the
  core ([the captured step](captured_step.md)). "Eager": it runs op by op, as it is written.
- [Speed over width and batch](benchmarks/widths.md) shows where it pays for a network of your own.
- Below are the targets, what each op reached, every row that is slower than a peer, and random shapes.
  The page of each kernel family has all rows, with pictures and the command that reproduces each.
"""
FAMILIES = ["training", "fit", "inference", "matmul", "conv2d", "conv1d", "conv_transpose", "pooling"]
FAMILIES += [
    "activation",
    "softmax",
    "loss",
    "norm",
    "recurrent",
    "attention",
    "elementwise",
    "reduce",
    "optimizer",
]
LEVEL_WORDS = (
    "Rows marked {level} ran in a process with `RANVIER_ISA={level}`, against peers told to use the same "
    "instructions (`benchmarks/peers/levels.py`); their limit was measured with these instructions too."
)


OTHERS = (
    "Measured apart: [1 to 16 cores beside PyTorch](benchmarks/many_cores.md), [eager calls]"
    "(benchmarks/eager.md), [function transforms](benchmarks/transforms.md), [weights of 16, 8 and 4 bits]"
    "(benchmarks/quantized.md), [what was measured for the design](benchmarks/design.md) and for the "
    "[algorithms of convolutions](benchmarks/conv2d_algorithms.md), [accuracy](accuracy.md)."
)
WRITTEN = re.compile(r"# [^\n]*: (all rows|the worst of each kind)\n")  # how these pages begin


def join(*sections: str) -> str:
    return "\n\n".join(section.strip("\n") for section in sections if section) + "\n"


def heading(name: str) -> str:
    return f"## {name}\n"


def machine_section(results: Record) -> str:
    limits = results["limits"]
    words = (
        f"{limits['cpu']}, instruction set {limits['isa']} ([all machines](machines.md)). "
        "Bandwidth is read / read and write."
    )
    parts = [heading("The machine"), words, machine.table(dict(limits))]
    for level, found in results.get("levels", {}).items():
        parts += [f"The same in {level} code:", machine.table(dict(found))]
    return join(*parts)


def targets_section(records: Sequence[Record], isa: str) -> str:
    words = (
        "What matters most comes first: whole networks, then layers, then single products. Beside a **no** "
        "is its cause. Float32 and the machine's own level unless said otherwise; the listed rows are in "
        "`benchmarks/targets.py`."
    )
    return join(heading("Targets"), words, "\n".join(targets.table(records, isa)))


def by_op(records: Sequence[Record], isa: str) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(summary.group_name(record, isa), []).append(record)
    return found


def summary_table(records: Sequence[Record], isa: str) -> str:
    """One line for each op: the geometric mean for each number of threads, those below 1, the lowest."""
    counts = sorted({r["threads"] for r in records})
    means = [f"mean, {n} thread{'s' * (n > 1)}" for n in counts]
    head = ["op", "rows", *means, "below 1", "worst row", "its ratio", "of the limit, median"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for op, rows in by_op(records, isa).items():
        compared = summary.compared(rows)
        cells = [f"[{op}](benchmarks/{rows[0]['family']}.md)", str(len(rows))]
        for count in counts:
            ratios = [r["ratio"] for r in compared if r["threads"] == count]
            cells.append(f"{summary.geometric_mean(ratios):.2f}" if ratios else "")
        below, shares = sum(r["ratio"] < 1 for r in compared), [r["fraction"] for r in rows if r["fraction"]]
        if compared:
            words = f"{compared[0]['row']} ({compared[0]['threads']} thr.)"
            cells += [str(below or ""), words, f"{compared[0]['ratio']:.2f}"]
        else:
            cells += ["", "no peer", ""]
        lines.append("| " + " | ".join([*cells, f"{median(shares):.0%}" if shares else ""]) + " |")
    return "\n".join(lines)


def slower_section(records: Sequence[Record], isa: str) -> str:
    slower = [r for r in summary.compared(summary.races(records)) if r["ratio"] < 1]
    count = len(summary.compared(summary.races(records)))
    lines = ["| op | row | threads | best peer | ratio | of the limit |", "|---|---|---|---|---|---|"]
    for r in slower:
        share = f"{r['fraction']:.0%} of {r['limited_by']}" if r["fraction"] is not None else ""
        cells = [
            summary.group_name(r, isa),
            r["row"],
            str(r["threads"]),
            r["best_peer"],
            f"{r['ratio']:.2f}",
            share,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    words = f"{len(slower)} of {count} rows that have a peer, the slowest first."
    return join(heading("Rows slower than a peer"), words, "\n".join(lines) if slower else "")


def sweep_section(found: Record | None, folder: Path) -> str:
    if not found or not found["rows"]:
        return ""
    rows = found["rows"]
    by_kind = {f"{op}, {n} thr.": group for (op, n), group in summary.groups(rows).items()}
    charts.spread(by_kind, folder / "sweep.svg")
    words = (
        f"{found['shapes']} shapes of each kind, sizes drawn log-uniformly (seed {found['seed']}), images in "
        "both layouts, on a drawn number of threads; the answers are compared with the peer's. What a call "
        "costs beyond its work counts, on both sides. `python -m benchmarks.sweep --sweep N --seed S` draws "
        "others."
    )
    failed = [f"- failed: {row['what']}: {row['why'].splitlines()[0]}" for row in found["failed"]]
    return join(
        heading("Random shapes"),
        words,
        "\n".join(sweep.table(rows)),
        "![ratios of the sweep](benchmarks/sweep.svg)",
        f"The {sweep.WORST} worst:",
        "\n".join(sweep.worst(rows)),
        "\n".join(failed),
        "[The ten worst of each kind](benchmarks/sweep.md)",
    )


def sweep_page(found: Record) -> str:
    parts = ["# Random shapes: the worst of each kind"]
    kinds = dict.fromkeys(row["op"] for row in found["rows"])
    for kind in kinds:
        parts += [heading(kind), "\n".join(sweep.worst(r for r in found["rows"] if r["op"] == kind))]
    return join(*parts)


def failed_section(results: Record, records: Sequence[Record]) -> str:
    lines = [f"- **failed**: `{row['what']}`: {row['why']}" for row in results.get("failed", ())]
    lines += [f"- not run: `{row['what']}`: {row['why']}" for row in results.get("not_run", ())]
    lines += [f"- {line}" for line in summary.skipped(records)]
    alone = [r for r in summary.races(records) if not r["ratios"]]
    ops = ", ".join(dict.fromkeys(r["op"] for r in alone))
    lines += [f"- {len(alone)} rows have no peer: {ops}"] if alone else []
    return join(heading("Failed, not run, not compared"), "\n".join(lines) or "Nothing.")


def facts_section(records: Sequence[Record], title: str = "Threads, import, size, memory") -> str:
    lines = ["| what | measured | target | reproduce |", "|---|---|---|---|"]
    lines += [
        f"| {r['what']} | {r['value']} | {r['target']} | `{r['command']}` |" for r in summary.facts(records)
    ]
    return join(heading(title), "\n".join(lines)) if len(lines) > 2 else ""


def versions_section(records: Sequence[Record]) -> str:
    versions = {name: v for record in records for name, v in record.get("versions", {}).items()}
    compared = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return join(heading("Compared with"), f"{compared}.") if versions else ""


def group_section(name: str, records: Sequence[Record], limits: Sequence[Record], folder: Path) -> str:
    """One op at one dtype and level: its means, pictures and table."""
    stem = name.replace(", ", "-")
    pictures = [f"![{name} against its peers]({stem}-bars.svg)"]
    charts.bars(records, folder / f"{stem}-bars.svg")
    for limit in limits:
        count = limit["threads"]
        points = [r for r in records if r["threads"] == count and r["flops"] and r["moved"]]
        if points:
            charts.roofline(points, limit, folder / f"{stem}-roofline-{count}.svg")
            pictures.append(f"![{name}: roofline, threads: {count}]({stem}-roofline-{count}.svg)")
    lines = [
        "| row | threads | of the limit | best peer | ratio | to each | id |",
        "|---|---|---|---|---|---|---|",
    ]
    for record in records:
        lines.append("| " + " | ".join([*summary.cells(record)[1:], f"`{record['id']}`"]) + " |")
    means = "\n".join(f"- {line}" for line in summary.means(records))
    file = records[0]["command"].partition("'")[2].partition("::")[0]
    words = f"To reproduce a row, with its id: `pytest '{file}::ID' --benchmark-only`."
    return join(heading(name), means, *pictures, words, "\n".join(lines))


def family_page(family: str, records: Sequence[Record], results: Record, folder: Path) -> str:
    """All ops of one benchmark file."""
    own = results["limits"]["isa"]
    limits = {own: results["limits"], **results.get("levels", {})}
    where = f"Measured on {results['limits']['cpu']}, instruction set {own}."
    parts = [f"# {family}: all rows", "[Summary of all families](../benchmarks.md)", where]
    levels = {r["isa"] for r in records} - {own}
    parts += [LEVEL_WORDS.format(level=level) for level in sorted(levels)]
    if family in whole.OPS:
        facts = [r for r in summary.facts(records_of(results)) if r.get("family") == family]
        parts += ["\n".join(whole.table(records, family)), facts_section(facts, "Memory and threads")]
    for name, group in by_op(records, own).items():
        found = limits.get(group[0]["isa"], results["limits"])
        parts.append(group_section(name, group, found["limits"], folder))
    return join(*parts)


# tables in pages of docs; the first word is the page
TABLES = {
    "physics errors": ["instruction set", "Helmholtz", "heat", "Burgers"],
    "physics times": ["equation", "ours", "JAX", "PyTorch"],
    "control steps": ["program", "instruction set", *(f"seed {i}" for i in range(6))],
}


def write_tables(results: Record, docs: Path) -> None:
    """Put the rows of records with a table between its marks; a table without new rows stays."""
    rows: dict[str, list[list[str]]] = {}
    for record in summary.facts(records_of(results)):
        if "table" in record:
            rows.setdefault(record["table"], []).append(record["cells"])
    for name, found in rows.items():
        page, head, limits = docs / f"{name.split()[0]}.md", TABLES[name], results["limits"]
        if not page.exists():  # another folder than docs
            continue
        lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *found)]
        level = "" if "instruction set" in head else f", {limits['isa']}"
        where = f"[{limits['cpu']}](machines.md){level}, one thread:"
        marked.write(page, f"{name}: python -m benchmarks.report", [where, "", *lines])


def place(record: Record) -> tuple[int, str]:
    """The position of a record in the report: ops that take most of a network's time come first."""
    family = record["family"]
    return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), family)


def complete(record: Record, isa: str) -> dict[str, Any]:
    """A record of an earlier version of the harness has neither dtype nor level, family nor id."""
    path, _, name = str(record["command"].split("'")[1] if "'" in record["command"] else "").partition("::")
    family = Path(path).stem.removeprefix("bench_")
    return {"dtype": "float32", "isa": isa, "family": family, "id": name, **record}


def records_of(results: Record) -> list[Record]:
    """The records of a run's benchmarks."""
    given = [b["extra_info"] for b in results["benchmarks"] if {"op", "what"} & set(b["extra_info"])]
    return [complete(r, results["limits"]["isa"]) if "op" in r else r for r in given]


def write(results: Record, out: Path, part: bool = False) -> Path:
    """All pages and pictures; the path of the summary. part: only the pages of the families that ran."""
    isa, records = results["limits"]["isa"], records_of(results)
    races, folder = sorted(summary.races(records), key=place), out / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    for old in () if part else (*folder.glob("*.svg"), *folder.glob("*.md")):
        picture = old.suffix == ".svg" and old.stem != "widths"
        if picture or WRITTEN.match(old.read_text(encoding="utf-8")):  # others have their own commands
            old.unlink()
    families: dict[str, list[Record]] = {}
    for record in races:
        families.setdefault(record["family"], []).append(record)
    for family, rows in families.items():
        (folder / f"{family}.md").write_text(family_page(family, rows, results, folder), encoding="utf-8")
    if part:
        return folder
    overview = ""
    if races:
        charts.spread(by_op(races, isa), folder / "overview.svg", 2)
        parts = ["![all ratios](benchmarks/overview.svg)", summary_table(races, isa)]
        overview = join(heading("What each op reached"), *parts)
    found = results.get("sweep")
    if found and found["rows"]:
        (folder / "sweep.md").write_text(sweep_page(found), encoding="utf-8")
    write_tables(results, out)
    page = out / "benchmarks.md"
    sections = [INTRODUCTION, machine_section(results)]
    if races:
        sections += [targets_section(records, isa), overview, slower_section(records, isa)]
    sections += [sweep_section(found, folder), facts_section(records)]
    sections += [OTHERS, versions_section(records)]
    page.write_text(join(*sections, failed_section(results, records)), encoding="utf-8")
    return page
