"""Changes one place of the C++ sources at a time, compiles, and runs tests: do they find it?

See docs/testing.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from mutation.places import Place, drawn


def main() -> None:
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__)
    parser.add_argument("sources", nargs="+", type=Path, help="files or folders below cpp")
    parser.add_argument("--tests", nargs="+", required=True, help="what pytest runs for each change")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="another one draws other places")
    arguments = parser.parse_args()
    files: list[Path] = []
    for source in arguments.sources:
        below = [source] if source.is_file() else sorted(source.rglob("*"))
        files += [file for file in below if file.suffix in (".cpp", ".h")]
    changed = _run("git", "status", "--porcelain", "--", *map(str, files)).stdout
    if changed:
        sys.exit(f"these files differ from the last commit, which they are set back to:\n{changed}")
    test = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *arguments.tests]
    if not _built():
        sys.exit("without a change the sources do not compile")
    begin = time.monotonic()
    if _run(*test).returncode:
        sys.exit("without a change the tests fail")
    limit = 60 + 4 * (time.monotonic() - begin)
    outcomes: Counter[str] = Counter()
    try:
        for place in drawn(files, arguments.count, arguments.seed):
            outcome = _outcome(place, test, limit)
            outcomes[outcome] += 1
            print(f"{outcome}: {place}", flush=True)
    finally:
        _built()
    print(dict(outcomes))


def _outcome(place: Place, test: list[str], limit: float) -> str:
    """The result of the tests with one change; the file is restored. limit: seconds, for endless loops."""
    text = place.file.read_text()
    place.file.write_text(text[: place.start] + place.after + text[place.end :])
    try:
        if not _built():
            return "does not compile"
        if _run(*test, limit=limit).returncode:
            return "found"
        return "SURVIVED"
    except subprocess.TimeoutExpired:
        return "found"
    finally:
        place.file.write_text(text)


def _built() -> bool:
    """Compile the sources as they are; whether that succeeds."""
    return _run("cmake", "--build", "--preset", "dev").returncode == 0


def _run(*command: str, limit: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command with its output as text; TimeoutExpired after `limit` seconds."""
    return subprocess.run(command, capture_output=True, text=True, timeout=limit)


if __name__ == "__main__":
    main()
