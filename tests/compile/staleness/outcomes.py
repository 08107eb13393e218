"""Judges scenarios: PYTHONPATH=python:tests python -m compile.staleness.outcomes [part of a name ...]

Prints those that are wrong, and those whose mark `!` (the step runs eagerly) does not agree with it.
Options: --all prints every scenario, --early, --each and --long take other calls for the changes,
--unverified compiles with verify=False.
"""

import sys
import traceback
from collections import Counter

from compile.staleness import judge
from compile.staleness.everything import SCENARIOS


def main() -> None:
    options = {word for word in sys.argv[1:] if word.startswith("--")}
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    settings = {"verify": False} if "--unverified" in options else {}
    calls = [getattr(judge, o[2:].upper()) for o in options if o in ("--early", "--each", "--long")]
    counts: Counter[str] = Counter()
    for name, one in SCENARIOS.items():
        for at in (calls or [judge.LATE]) if not words or any(word in name for word in words) else ():
            try:
                outcome, remark = judge.judge(one, at, **settings)
            except Exception:
                outcome, remark = "error", traceback.format_exc(limit=-1).replace("\n", " ")
            counts[outcome] += 1
            if outcome == "captured" and one.eager and one.calls:
                continue  # a fit of few steps, which did not come to the recording that would warn
            if outcome != ("eager" if one.eager else "captured") or "--all" in options:
                print(f"{name}: {outcome}: {remark[-200:]}")
    print(dict(counts))


if __name__ == "__main__":
    main()
