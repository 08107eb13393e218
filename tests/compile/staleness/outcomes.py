"""Judges scenarios: PYTHONPATH=python:tests python -m compile.staleness.outcomes [part of a name ...]

Prints those that are wrong, and those whose mark `!` (the step runs eagerly) does not agree with it.
Options: --write puts the marks right in the tables and lays these out in lines, --all prints every scenario,
--early, --each and --long take other calls for the changes, --unverified compiles with verify=False.
"""

import re
import sys
import traceback
from collections import Counter, defaultdict
from pathlib import Path

from compile.staleness import judge
from compile.staleness.everything import SCENARIOS
from compile.staleness.rows import blocks

WIDTH = 110
Marks = dict[tuple[str, str], dict[str, bool]]


def main() -> None:
    options = {word for word in sys.argv[1:] if word.startswith("--")}
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    settings = {"verify": False} if "--unverified" in options else {}
    calls = [getattr(judge, o[2:].upper()) for o in options if o in ("--early", "--each", "--long")]
    counts: Counter[str] = Counter()
    marks: Marks = defaultdict(dict)
    for name, one in SCENARIOS.items():
        marks[one.row[1], one.row[2]][one.row[3]] = one.eager
        for at in (calls or [judge.LATE]) if not words or any(word in name for word in words) else ():
            try:
                outcome, remark = judge.judge(one, at, **settings)
            except Exception:
                outcome, remark = "error", traceback.format_exc(limit=-1).replace("\n", " ")
            counts[outcome] += 1
            if outcome == "captured" and one.eager and one.calls:
                continue  # a fit of few steps, which did not come to the recording that would warn
            if outcome in ("captured", "eager"):
                marks[one.row[1], one.row[2]][one.row[3]] = outcome == "eager"
            if outcome != ("eager" if one.eager else "captured") or "--all" in options:
                print(f"{name}: {outcome}: {remark[-200:]}")
    print(dict(counts))
    for file in Path(__file__).parent.glob("*.py") if "--write" in options else ():
        text = file.read_text()
        begin, quotes, rest = text.partition('ROWS = r"""\n')
        rows, end, rest = rest.partition('\n"""\n')
        if quotes:
            file.write_text(begin + quotes + laid_out(rows, marks) + end + rest)


def laid_out(text: str, marks: Marks) -> str:
    """The same tables with these marks."""
    lines, row, listed = [], "", False
    for line in [*text.split("\n"), ""]:
        listed = line.startswith("% ") or (listed and line.startswith("    "))
        if line.startswith("    ") and not listed:
            row += "\n" + line
            continue
        lines += [_marked(row, marks)] if row else []
        row = "" if listed or re.match(r"== |\.+ |# |$", line) else line
        lines += [line] if not row else []
    return "\n".join(lines[:-1])


def _marked(row: str, marks: Marks) -> str:
    ((head, of_all, ones),) = blocks(row)
    states = [marks.get((head, one), dict.fromkeys(some or [""], mark or of_all)) for one, mark, some in ones]
    if all(all(state.values()) for state in states):
        head, states = "!" + head, [{} for _ in states]
    line, begin = _filled("", f"{head} ->", " "), " "
    for (one, *_), state in zip(ones, states, strict=True):
        eager = [variant for variant, is_eager in state.items() if is_eager]
        one = one if not eager else f"!{one}" if len(eager) == len(state) else f"!{','.join(eager)}!{one}"
        line, begin = _filled(line, one, begin), "; "
    return line


def _filled(line: str, text: str, begin: str) -> str:
    """The lines and a text, which begins a new one where it does not fit, and is broken where it is long."""
    last = line.rpartition("\n")[2]
    if not line or len(last) + len(begin) + len(text) <= WIDTH:
        line += begin + text if line else text
    else:
        line += f"\n    {text}"
    last = line.rpartition("\n")[2]
    for end in ("| ", "-> ", "; ", "\\n"):
        at = last.rfind(end, 5, WIDTH) + len(end)
        if len(last) > WIDTH and at > len(end):
            done, rest = last[:at].removesuffix("; ").rstrip(" "), last[at:]
            return _filled(line[: -len(last)] + done, rest, " " * WIDTH)
    return line


if __name__ == "__main__":
    main()
