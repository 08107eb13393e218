"""All modules of PyTorch's lists, judged: what is not right, and a count of verdicts."""

import sys
from collections import Counter

from differential.modules.cases import SOURCES, cases
from differential.modules.judge import judge


def main() -> int:
    for source in SOURCES:
        counts: Counter[str] = Counter()
        listed: Counter[tuple[str, ...]] = Counter()
        for case in cases(source):
            verdict, message = judge(case)
            counts[verdict] += 1
            group = case.title.split("#")[0], verdict, message[:60]
            listed[group] += 1
            if verdict != "right" and listed[group] == 1:
                mode = "train" if case.training else "eval"
                print(f"{verdict}: {case.title} {case.dtype} {mode}: {message[:300]}", flush=True)
        print(source, dict(counts), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
