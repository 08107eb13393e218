"""What the site needs besides Sphinx's own extensions."""

from typing import Any

from extension import api, docstrings, kernels, names, pages, tables


def setup(app: Any) -> dict[str, Any]:
    app.connect("builder-inited", lambda app: api.write_pages())
    app.connect("source-read", pages.read)
    app.connect("autodoc-process-docstring", kernels.process, priority=50)
    app.connect("autodoc-process-docstring", docstrings.process, priority=100)  # before napoleon
    app.connect("autodoc-skip-member", docstrings.skip)
    app.connect("missing-reference", names.resolve)
    app.connect("build-finished", pages.copy_playground)
    app.add_transform(tables.DropEmptyHeads)
    app.add_post_transform(names.LinkNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
