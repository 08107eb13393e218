"""docs/topics.md: every function, example and picture that it names is there, and none is left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ranvier as rv
from support.grouped import grouped

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "topics.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("|") and not line.startswith(("| topic", "|---"))
]
NAMES = sorted({name for row in ROWS for cell in row for name in re.findall(r"`([^`]+)`", cell)})
LINKS = sorted(set(re.findall(r"\]\(([^)#]+)\)", PAGE)))


@grouped("name", NAMES)
def test_what_is_named_is_there(name: str) -> None:
    first, *path = name.split(".")
    assert first == "rv", "names as a program writes them, from `import ranvier as rv`"
    if path[0] == "sklearn":  # to load a name, scikit-learn is needed
        assert path[1] in rv.sklearn.__all__
        return
    found: Any = rv
    for part in path:
        found = getattr(found, part)


@grouped("link", LINKS)
def test_what_is_linked_is_there(link: str) -> None:
    assert (ROOT / "docs" / link).resolve().is_file()


def test_a_row_has_a_topic_and_what_serves_it() -> None:
    assert len(ROWS) > 80
    for row in ROWS:
        assert len(row) == 4, row
        topic, code, example, picture = row
        assert topic, row
        assert re.fullmatch(r"(`rv(\.\w+)+` ?)+", code), row
        assert re.fullmatch(r"(\[\d\d\]\(\.\./examples/\d\d_\w+\.py\) ?)*", example), row
        assert re.fullmatch(r"(`rv\.plot\.\w+` ?)*", picture), row


def test_a_link_to_an_example_bears_its_number() -> None:
    for number, name in re.findall(r"\[(\d\d)\]\(\.\./examples/(\w+)\.py\)", PAGE):
        assert name.startswith(f"{number}_")


def test_no_topic_comes_twice() -> None:
    topics = [row[0] for row in ROWS]
    assert sorted(set(topics)) == sorted(topics)


def test_pictures_are_small_and_each_is_of_an_example_and_shown() -> None:
    pictures = sorted((ROOT / "docs" / "pictures").iterdir())
    assert sum(path.stat().st_size for path in pictures) <= 500_000
    examples = [path.stem for path in (ROOT / "examples").glob("[0-9][0-9]_*.py")]
    for path in pictures:
        assert path.stat().st_size <= 60_000
        assert any(path.stem.startswith(name) for name in examples)
        assert f"pictures/{path.name}" in LINKS


def test_every_example_and_every_picture_serves_a_topic() -> None:
    examples = {path.name for path in (ROOT / "examples").glob("[0-9][0-9]_*.py")}
    assert sorted(examples - {Path(link).name for link in LINKS}) == []
    pictures = {f"rv.plot.{name}" for name in rv.plot.__all__ if name != "require_matplotlib"}
    assert sorted(pictures - set(NAMES)) == []
