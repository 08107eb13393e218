"""Names in the text, such as `rv.conv2d`, lead to their description."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

from extension import api

NAME = re.compile(r"(rv|nn|optim|F|ranvier)(\.\w+)+(\(\))?")


def resolve(app: Any, env: Any, node: Any, contents: nodes.Element) -> nodes.Node | None:
    """`:func:` and others with another name than the described one."""
    if node.get("refdomain") != "py":
        return None
    full = api.target(node["reftarget"])
    entry = env.domains["py"].objects.get(full)
    if entry is None:
        return None
    if not node["refexplicit"]:
        call = "()" if contents.astext().endswith("()") else ""
        contents = nodes.literal("", full + call)
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contents, full)


class LinkNames(SphinxPostTransform):
    default_priority = 5

    def run(self, **options: Any) -> None:
        objects = self.env.domains["py"].objects
        place = None
        for node in list(self.document.findall(nodes.literal)):
            if isinstance(node.parent, (nodes.reference, nodes.title)):
                continue
            text = node.astext()
            if self.env.docname == "toolbox":
                place = _place(node) or place
                full = f"{place}.{text}" if place and re.fullmatch(r"\w+", text) else text
            else:
                full = text
            if not NAME.fullmatch(full):
                continue
            entry = objects.get(api.target(full))
            if entry is None:
                continue
            link = make_refnode(
                self.app.builder, self.env.docname, entry.docname, entry.node_id, node.deepcopy(), full
            )
            node.replace_self(link)


def _place(node: nodes.Node) -> str | None:
    """The module that the section's title names."""
    parent: Any = node.parent
    while parent is not None:
        if isinstance(parent, nodes.section):
            for literal in parent.next_node(nodes.title).findall(nodes.literal):
                found = re.fullmatch(r"(rv(?:\.\w+)*?)(\.\*)?", literal.astext())
                if found:
                    return found[1]
        parent = parent.parent
    return None
