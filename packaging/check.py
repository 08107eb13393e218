"""Check a wheel: its size, its files and, on Linux, the OpenMP runtime in it. Prints what takes the space.

python packaging/check.py dist/ranvier-*.whl
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections import Counter
from pathlib import Path

LEVELS = (b"x86-64-v2", b"x86-64-v3", b"x86-64-v4")  # names in a core that has them
LARGEST = 6_000_000  # bytes, of a wheel
ALLOWED = re.compile(
    r"ranvier/[\w/.-]+\.(py|pyi|typed|so|pyd|json|npz|txt|c)|"
    r"ranvier\.libs/(lib(gomp|stdc\+\+|gcc_s)|libomp)[\w.+-]*|"
    r"ranvier/(\.dylibs/libomp\.dylib|libomp\.dll)|"
    r"ranvier-[\d.]+\.dist-info/[\w/.]+"
)
CORE = re.compile(r"ranvier/_core\.\S+\.(so|pyd)")


def faults(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        cores = [archive.read(entry) for entry in entries if CORE.fullmatch(entry.filename)]
    sizes: Counter[str] = Counter()
    for entry in entries:
        folder, _, rest = entry.filename.partition("/")
        part = rest.partition("/")[0] if folder == "ranvier" else folder
        sizes[part] += entry.compress_size
    for name, size in sizes.most_common(12):
        print(f"{size:>10,}  {name}")
    total = wheel.stat().st_size
    print(f"{total:>10,}  {wheel.name}")
    names = [entry.filename for entry in entries]
    found = [f"{name} does not belong in a wheel" for name in names if not ALLOWED.fullmatch(name)]
    if total > LARGEST:
        found.append(f"{total:,} bytes; at most {LARGEST:,} are allowed")
    if not cores:
        found.append("there is no ranvier/_core")
    elif re.search("x86_64|amd64", wheel.name) and not all(level in cores[0] for level in LEVELS):
        found.append("it lacks levels: it was not built with RANVIER_LEVELS=all")
    if "manylinux" in wheel.name and not any(name.startswith("ranvier.libs/libgomp") for name in names):
        found.append("libgomp is not in it")
    if wheel.name.endswith("-linux_x86_64.whl"):
        found.append("it is not repaired: its tag is linux_x86_64")
    return found


if __name__ == "__main__":
    said = [fault for path in map(Path, sys.argv[1:]) for fault in faults(path)]
    if said or len(sys.argv) < 2:
        sys.exit("\n".join(said) or __doc__)
