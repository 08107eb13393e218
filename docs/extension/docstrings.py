"""The library's docstrings as reStructuredText.

They are plain text with `code` in single backticks, indented formulas, examples, and sections such as
"Args:". Signs that mean something in reStructuredText (`x_`, `a * b`, `|x|`) are escaped.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

SECTION = re.compile(r"(Args|Arguments|Attributes|Example|Examples|Note|Raises|Returns|Yields|Warns):$")
CODE = re.compile(r"(``.+?``|:\w+:`[^`]+`|`[^`]+`)", re.S)


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = convert("\n".join(lines)).split("\n")


def skip(app: Any, what: str, name: str, obj: Any, skips: bool, options: Any) -> bool | None:
    """Members that scikit-learn's base classes add to each estimator are not described."""
    home = getattr(obj, "__module__", None) or ""
    return True if home.startswith("sklearn") else None


def convert(text: str) -> str:
    """The text of a docstring, paragraph by paragraph."""
    paragraphs = re.split(r"\n\s*\n", text.expandtabs())
    written, section = [], False
    for paragraph in paragraphs:
        if not paragraph.strip():
            continue
        first = paragraph.split("\n", 1)[0]
        if paragraph.lstrip().startswith(">>>"):
            section = False
            written.append(paragraph)
        elif SECTION.match(first) and "\n" in paragraph:
            section = True
            written.append(f"{first}\n{_entries(paragraph.split(chr(10), 1)[1])}")
        elif section and first.startswith(" "):
            written.append(_entries(paragraph))
        else:
            section = False
            written.append(_prose(paragraph))
    return "\n\n".join(written) + "\n"


def _entries(text: str) -> str:
    """`name: what it is`; napoleon escapes the names itself."""
    found = []
    for line in text.split("\n"):
        head = re.match(r"\s+[\w*][\w*, .]*:(?= |$)", line)
        found.append((head[0] if head else "", line[head.end() if head else 0 :]))
    body = escape("\n".join(line for _, line in found)).split("\n")
    return "\n".join(head + line for (head, _), line in zip(found, body, strict=True))


def _prose(text: str) -> str:
    """Lines that are indented more than their paragraph's first are formulas or code."""
    lines = text.split("\n")
    if all(line.startswith(" ") for line in lines):
        return "::\n\n" + text
    blocks: list[tuple[bool, list[str]]] = []
    listed = False
    for line in lines:
        listed = bool(re.match(r"[-*] ", line)) or (listed and line.startswith(" "))
        literal = line.startswith(" ") and not listed
        begins = line.startswith("- ") and blocks and not blocks[-1][1][0].startswith("- ")
        if not blocks or blocks[-1][0] != literal or begins:
            blocks.append((literal, []))
        blocks[-1][1].append(line)
    return "\n\n".join(
        "::\n\n" + "\n".join(block) if literal else escape("\n".join(block)) for literal, block in blocks
    )


def escape(text: str) -> str:
    """Code as literals, and all other signs as they are."""
    parts = CODE.split(text)
    for i, part in enumerate(parts):
        if i % 2 == 0:
            part = part.replace("\\", "\\\\")
            part = re.sub(r"(?<!^)(?<!\n)\*", r"\\*", part)
            part = re.sub(r"(?m)^\*(?! )", r"\\*", part)
            part = re.sub(r"_(?!\w)", r"\\_", part).replace("|", "\\|").replace("`", "\\`")
            parts[i] = part
        elif part.startswith("`") and not part.startswith("``"):
            parts[i] = f"`{part}`"
    out = parts[0]
    for before, part in pairwise(parts):  # a literal must not touch a letter
        code = part.startswith("`")
        touches = before[-1:].isalnum() if code else before.endswith("`") and part[:1].isalnum()
        out += ("\\ " if touches else "") + part
    return out
