"""The packages that ranvier and some of its extras need, without building ranvier: one a line, for pip.

python packaging/extra.py test lint | xargs -d '\\n' pip install
"""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    from pip._vendor import tomli as tomllib

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
print(*PROJECT["dependencies"], sep="\n")
for extra in sys.argv[1:]:
    print(*PROJECT["optional-dependencies"][extra], sep="\n")
