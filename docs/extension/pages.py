"""Markdown pages whose links work on a code host and on the site; pages from outside; contents.

A link leads to a file of the repository. On the site it leads to the page that was made of this file.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent

# page of the site -> file of the repository outside docs
COPIES = {
    f"project/{path.stem.lower()}": path.name
    for path in sorted(ROOT.glob("*.md"))
    if path.name != "README.md"  # the front page has it
} | {"project/benchmarks": "benchmarks/README.md"}
GALLERY = "gallery"

# what is below a page in the navigation; the Markdown files have links instead, which work on a code host too
CONTENTS = {
    "index": [
        *("five_minutes", "tasks", "guide", "Examples <gallery/index>", "API <api/index>"),
        *("benchmarks", "Development <development>"),
    ],
    "guide": [
        *("topics", "toolbox", "captured_step", "transforms", "single_samples"),
        *("many_networks", "physics", "generation", "control"),
        *(
            "command_line",
            "reproducibility",
            "threads",
            "memory",
            "deployment",
            "quantized",
            "pretrained",
            "onnx",
            "export",
            "playground",
        ),
        *("distributed", "unchanged", "from_pytorch", "sklearn", "from_keras", "versions"),
    ],
    "from_pytorch": ["pytorch_names"],
    "sklearn": ["tables"],
    "benchmarks": [
        "machines",
        "accuracy",
        *(f"benchmarks/{path.stem}" for path in sorted(DOCS.glob("benchmarks/*.md"))),
    ],
    "development": [*COPIES, "testing", "design/README"],
    "design/README": [path.stem for path in sorted(DOCS.glob("design/*.md")) if path.stem != "README"],
}


def write_copies() -> None:
    """Empty pages for COPIES; `read` fills them."""
    for page in COPIES:
        path = DOCS / f"{page}.md"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_text("")
    for path in (DOCS / "project").glob("*.md"):
        if f"project/{path.stem}" not in COPIES:
            path.unlink()


def copy_playground(app: Any, exception: Exception | None) -> None:
    """The playground beside the pages, with links to them, which it has no use for on a disk."""
    if exception is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir) / "playground"
    shutil.copytree(
        DOCS / "playground", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__")
    )
    page = folder / "index.html"
    links = '<p><a href="../index.html">ranvier</a> · <a href="../gallery/index.html">Examples</a> · '
    links += '<a href="../playground.html">About this page</a></p>'
    page.write_text(
        page.read_text(encoding="utf-8").replace("<!-- links of the site -->", links), encoding="utf-8"
    )


def read(app: Any, page: str, source: list[str]) -> None:
    """Fills a page from elsewhere, leads its links to pages, and appends its table of contents."""
    original = ROOT / COPIES[page] if page in COPIES else DOCS / f"{page}.md"
    if not original.exists():  # reStructuredText
        return
    text = source[0]
    if page in COPIES:
        text = original.read_text()
        app.env.note_dependency(str(original))
    text = lead_links(text, original, page)
    if page == "index":
        readme = ROOT / "README.md"
        app.env.note_dependency(str(readme))
        text = text.replace("<!-- README -->", lead_links(_body(readme.read_text()), readme, page))
    if page in CONTENTS:
        text += "\n\n```{toctree}\n:hidden:\n\n" + "\n".join(CONTENTS[page]) + "\n```\n"
    source[0] = text


def _body(readme: str) -> str:
    """What follows the title."""
    return readme.split("\n", 1)[1]


def lead_links(text: str, original: Path, page: str) -> str:
    """The text with each link to a file of the repository led to the site's page of it."""

    def lead(match: re.Match[str]) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        file = (original.parent / target).resolve()
        if words == target or file.name == words.rpartition("/")[2]:
            words = ""  # a path; the page's title takes its place
        return f"[{words}]({os.path.relpath(DOCS / _place(file), (DOCS / page).parent)}{anchor})"

    return re.sub(r"\[([^]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)", lead, text)


def _place(file: Path) -> str:
    """Where the site has a file, as a path below docs."""
    path = file.relative_to(ROOT).as_posix()
    for page, copied in COPIES.items():
        if path == copied:
            return f"{page}.md"
    if path == "examples/README.md":
        return f"{GALLERY}/index.rst"
    if path == "README.md":
        return "index.md"
    example = re.fullmatch(r"examples/(\d\d_\w+)\.py", path)
    return f"{GALLERY}/{example[1]}.rst" if example else os.path.relpath(file, DOCS)
