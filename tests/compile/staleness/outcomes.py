"""Counts the outcomes: PYTHONPATH=python:tests python -m compile.staleness.outcomes [part of a name ...]

Options: --all prints every scenario, --unverified compiles with verify=False, so that only guards can notice.
"""

import sys
import traceback
from collections import Counter

from compile.staleness.everything import SCENARIOS
from compile.staleness.judge import EARLY, LATE, RIGHT, judge


def main() -> None:
    options = {word for word in sys.argv[1:] if word.startswith("--")}
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    settings = {"verify": False} if "--unverified" in options else {}
    counts: Counter[str] = Counter()
    for name, scenario in SCENARIOS.items():
        if words and not any(word in name for word in words):
            continue
        for label, at in (("late", LATE), ("early", EARLY)):
            try:
                outcome, remark = judge(scenario, at, **settings)
            except Exception:
                outcome, remark = "error", traceback.format_exc(limit=-2).replace("\n", " | ")
            counts[outcome] += 1
            if outcome not in RIGHT or "--all" in options:
                print(f"{name}[{label}] {outcome}: {remark[:300]}")
    print(dict(counts))


if __name__ == "__main__":
    main()
