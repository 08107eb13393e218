"""A process that judges OpInfos and writes one line of JSON for each sample. A sample may crash it.

The parent writes the number of an OpInfo on a line; the worker answers with a line before each sample
(`{"begin": [dtype, form, number]}`), one after it (a Verdict), and `{"done": true}`.
"""

import dataclasses
import json
import os
import sys
from typing import Any


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the libraries print goes to stderr
    import torch
    from differential.opinfo.forms import infos, title
    from differential.opinfo.judge import judge

    torch.set_num_threads(1)
    ops = infos()

    most, kind, dtypes = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    aborts_at = os.environ.get("RANVIER_OPINFO_ABORT")  # name of an op: set by the test of crashes

    def say(**record: Any) -> None:
        answers.write(json.dumps(record) + "\n")

    say(ops=[title(info) for info in ops])
    for line in sys.stdin:
        info = ops[int(line)]

        def begin(*place: Any, name: str = info.name) -> None:
            say(begin=place)
            if name == aborts_at:
                os.abort()

        try:
            for verdict in judge(info, title(info), begin, most, kind, dtypes):
                say(**dataclasses.asdict(verdict))
        except Exception as error:
            say(failed=f"{type(error).__name__}: {error}")
        say(done=True)


if __name__ == "__main__":
    main()
