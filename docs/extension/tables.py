"""Tables without headings, which Markdown writes with an empty first row."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.transforms import SphinxTransform


class DropEmptyHeads(SphinxTransform):
    default_priority = 500

    def apply(self, **options: Any) -> None:
        for head in list(self.document.findall(nodes.thead)):
            if not head.astext().strip():
                head.parent.remove(head)
