"""Try an installed ranvier, outside of its sources: where it comes from, its threads, the README's programs.

python packaging/try_installed.py README.md
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
import ranvier as rv
from threadpoolctl import threadpool_info, threadpool_limits

MODULE = "import time; t = time.process_time(); import {}; print(time.process_time() - t)"


def import_time(module: str) -> float:
    """Seconds of the processor, the least of nine imports."""
    command = [sys.executable, "-c", MODULE.format(module)]
    return min(float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(9))


def main() -> None:
    package = Path(rv.__file__).parent
    assert package.is_relative_to(sysconfig.get_paths()["platlib"]), f"imported from {package}"

    brought = [pool for pool in threadpool_info() if pool["user_api"] == "openmp"]
    paths = [Path(pool["filepath"]) for pool in brought]
    assert any(path.is_relative_to(package.parent) for path in paths), f"OpenMP from {paths}"
    rv.set_num_threads(2)
    assert rv.get_num_threads() == 2
    with threadpool_limits(1):
        assert rv.get_num_threads() == 1

    a, b = import_time("numpy"), import_time("ranvier")
    print(f"import: numpy {1e3 * a:.0f} ms, ranvier {1e3 * b:.0f} ms, numpy included")

    program = "\n".join(re.findall(r"```python\n(.*?)```", Path(sys.argv[1]).read_text(), re.S))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        names: dict[str, object] = {}
        exec(compile(program, "README.md", "exec"), names)
        os.chdir("/")
    correct = float((np.asarray(names["labels"]) == np.asarray(names["y"])[1500:]).mean())
    assert correct > 0.8, correct
    print(f"the README's programs: accuracy {correct:.3f}")


if __name__ == "__main__":
    main()
