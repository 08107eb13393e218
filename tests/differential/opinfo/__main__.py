"""All ops of PyTorch's list that exist here, judged: a table of verdicts, and what is not right."""

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

from differential.opinfo.driver import DTYPES, FAULTS, verdicts

COLUMNS = ("right", "wrong", "refused", "apart", "raw", "crash", "hang", "beyond", "absent")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m differential.opinfo", description=__doc__)
    parser.add_argument("-k", default="", help="only ops whose name has this part")
    parser.add_argument("--list", nargs="*", default=list(FAULTS), help="verdicts to list")
    parser.add_argument("--most", type=int, default=3, help="lines listed for each op and verdict")
    parser.add_argument("--json", type=Path, help="all verdicts, one a line")
    parser.add_argument(
        "--kind", choices=("sample", "reference", "error", "second"), default="sample", help="the list"
    )
    parser.add_argument("--dtypes", nargs="+", default=DTYPES, help="dtypes of the inputs")
    options = parser.parse_args()

    started = time.monotonic()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    listed: dict[tuple[str, str], int] = Counter()
    file = options.json.open("w") if options.json else None
    for verdict in verdicts(lambda title: options.k in title, 0, options.kind, options.dtypes):
        counts[verdict["op"]][verdict["verdict"]] += 1
        if file:
            file.write(json.dumps(verdict) + "\n")
        key = verdict["op"], verdict["verdict"]
        listed[key] += 1
        if verdict["verdict"] in options.list and listed[key] <= options.most:
            place = f"{verdict['op']} {verdict['dtype']} {verdict['form']} #{verdict['number']}"
            print(f"{verdict['verdict']}: {place} ({verdict['sample']}): {verdict['message']}", flush=True)
    total = sum(counts.values(), Counter())
    print(f"\n{'op':46}" + "".join(f"{name:>8}" for name in COLUMNS))
    for op, found in [*counts.items(), (f"all {len(counts)} ops", total)]:
        print(f"{op:46}" + "".join(f"{found[name]:8}" for name in COLUMNS))
    judged = sum(total[name] for name in COLUMNS if name not in ("beyond", "absent"))
    print(f"{total['right'] / max(judged, 1):.2%} of {judged} right, {time.monotonic() - started:.0f} s")
    return 1 if any(total[name] for name in FAULTS) else 0


if __name__ == "__main__":
    sys.exit(main())
