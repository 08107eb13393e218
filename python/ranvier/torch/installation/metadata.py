"""The metadata (names and versions) that `importlib.metadata` finds for torch and torchvision."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from typing import Any

from ranvier.torch.installation.finder import VERSIONS, is_installed


class _Distribution(importlib.metadata.Distribution):
    """The metadata that `importlib.metadata` finds for a package."""

    def __init__(self, name: str, version: str) -> None:
        self._text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"

    def read_text(self, filename: str) -> str | None:
        if filename == "METADATA":
            return self._text
        return None

    def locate_file(self, path: Any) -> Any:
        return path


def distributions(context: Any) -> Iterator[importlib.metadata.Distribution]:
    """The versions that `importlib.metadata` gives for the two packages."""
    for name, version in VERSIONS.items():
        if getattr(context, "name", None) in (name, None) and not is_installed(name):
            yield _Distribution(name, version)
