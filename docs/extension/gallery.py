"""examples/ as a gallery: each program on a page, with what it prints, its pictures and a download."""

from __future__ import annotations

import ast
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from extension.pages import GALLERY, ROOT

SOURCES = ROOT / "build" / "gallery"
HEADER = """Examples
========

One short program for each chapter. Each prints its results and draws a picture, needs no download and runs
for a few seconds. `python examples/25_initialisation.py` saves the picture in the folder `pictures`.
Small networks also train in the browser: `the playground <../playground/index.html>`__.

"""


def write_sources() -> None:
    """Copies of the programs with a title above the docstring, which sphinx-gallery needs."""
    SOURCES.mkdir(parents=True, exist_ok=True)
    _write(SOURCES / "GALLERY_HEADER.rst", HEADER)
    programs = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))
    for program in programs:
        text = program.read_text()
        said = ast.get_docstring(ast.parse(text)) or ""
        title = f"{int(program.name[:2])}. {short(said)}"
        written = f'"""\n{title}\n{"=" * len(title)}\n\n{said}\n"""'
        _write(SOURCES / program.name, text.replace(f'"""{said}"""', written, 1))
    for path in SOURCES.glob("*.py"):
        if path.name not in {program.name for program in programs}:
            path.unlink()


def short(said: str) -> str:
    """The part of a program's first sentence that names its subject."""
    return re.split(r"[:;.]( |$)", said, maxsplit=1)[0].replace("`", "")


def _write(path: Path, text: str) -> None:
    """Only if it differs, so that what is unchanged is not run again."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


class Pictures:
    """The folder that a program gets as `--out`; its pictures are those of the page."""

    def __init__(self) -> None:
        self.folder: Path | None = None

    def argv(self, gallery_conf: Any, script_vars: Any) -> list[str]:
        self.folder = Path(tempfile.mkdtemp(prefix="ranvier-gallery-"))
        return ["--out", str(self.folder)]

    def scrape(self, block: Any, block_vars: Any, gallery_conf: Any) -> str:
        """Moves the new pictures to the page; that with the program's name is first, and its thumbnail."""
        import matplotlib.pyplot as plt
        from sphinx_gallery.scrapers import figure_rst

        plt.close("all")
        if self.folder is None or not self.folder.exists():
            return ""
        own = Path(block_vars["src_file"]).stem
        pictures = sorted(self.folder.glob("*.png"), key=lambda path: (path.stem != own, path.name))
        moved = []
        for picture in pictures:
            place = next(block_vars["image_path_iterator"])
            shutil.copyfile(picture, place)
            moved.append(place)
        shutil.rmtree(self.folder)
        return "\n".join(figure_rst([picture], gallery_conf["src_dir"]) for picture in moved)


PICTURES = Pictures()


def argv(gallery_conf: Any, script_vars: Any) -> list[str]:
    return PICTURES.argv(gallery_conf, script_vars)


def scrape(block: Any, block_vars: Any, gallery_conf: Any) -> str:
    return PICTURES.scrape(block, block_vars, gallery_conf)


SETTINGS: dict[str, Any] = {
    "examples_dirs": str(SOURCES),
    "gallery_dirs": GALLERY,
    "filename_pattern": r"/\d\d_\w+\.py",
    "within_subsection_order": "FileNameSortKey",
    "reset_argv": "extension.gallery.argv",
    "image_scrapers": ("extension.gallery.scrape",),
    "reset_modules": (),
    "capture_repr": (),
    "download_all_examples": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "remove_config_comments": True,
    "inspect_global_variables": False,
    "plot_gallery": "True",
}
