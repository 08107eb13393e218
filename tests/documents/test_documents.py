"""Files that the documents name exist, and their links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/design/*.md")])
SOURCES = ("benchmarks", "cmake", "cpp", "docs", "examples", "packaging", "python", "tests")
MADE_UP = re.compile(r"\bx\.|_x\.|NN_name|net\.py|_core\.pyi")  # of a user, of an op called x, of the build


def missing_files(text: str) -> list[str]:
    """Names such as `threads.h` or `ops/matmul.py` that are the end of no file's path."""
    named = set(re.findall(r"`([\w/.]+\.(?:py|pyi|cpp|h|cmake|json|toml))(?::[^`]*)?`", text))
    paths = [path for folder in SOURCES for path in (ROOT / folder).rglob("*")] + list(ROOT.iterdir())
    ends = [f"/{path.relative_to(ROOT)}" for path in paths]
    return sorted(n for n in named if not MADE_UP.search(n) and not any(e.endswith(f"/{n}") for e in ends))


def missing_targets(document: Path, text: str) -> list[str]:
    """Relative links to files that do not exist."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    return [target for target in targets if not (document.parent / target).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_files_that_exist(document: Path) -> None:
    text = document.read_text()
    assert missing_files(text) == []
    assert missing_targets(document, text) == []


@pytest.mark.parametrize("folder", ["python/ranvier", "cpp"])
def test_the_architecture_names_every_folder(folder: str) -> None:
    heads = re.findall(r"^\| (`.*?) \|", (ROOT / "ARCHITECTURE.md").read_text(), re.M)
    named = {name for head in heads for name in re.findall(r"`([\w/]+)`", head)}
    there = {path.name for path in (ROOT / folder).iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert there <= named


def test_finds_what_is_missing() -> None:
    assert missing_files("see `base/no_such_file.h` and `base/parallel.h`") == ["base/no_such_file.h"]
    assert missing_targets(ROOT / "README.md", "[a](docs/none.md) [b](docs/topics.md)") == ["docs/none.md"]
