"""docs/extension: links of Markdown pages and docstrings as the site has them (.ci/run builds the site)."""

import importlib
from pathlib import Path

import pytest
import ranvier as rv

pytest.importorskip("sphinx", reason="the site's extra `docs` is not installed")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def extension(monkeypatch):
    """A function that imports a module of docs/extension."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))

    def load(name):
        return importlib.import_module(f"extension.{name}")

    return load


@pytest.mark.parametrize(
    ("file", "page", "link", "led"),
    [
        ("docs/topics.md", "topics", "[01](../examples/01_neuron.py)", "[01](gallery/01_neuron.rst)"),
        ("docs/design/README.md", "design/README", "[threads.md](threads.md)", "[](threads.md)"),
        ("README.md", "index", "[here](docs/onnx.md#export)", "[here](onnx.md#export)"),
        ("ARCHITECTURE.md", "project/architecture", "[a](docs/testing.md)", "[a](../testing.md)"),
        ("docs/guide.md", "guide", "[a](../ARCHITECTURE.md)", "[a](project/architecture.md)"),
        ("docs/guide.md", "guide", "![a](pictures/05_xor.png)", "![a](pictures/05_xor.png)"),
        ("docs/guide.md", "guide", "[a](https://a.org/b.md) [b](#c)", "[a](https://a.org/b.md) [b](#c)"),
    ],
)
def test_a_link_leads_to_the_page_of_its_file(extension, file, page, link, led):
    assert extension("pages").lead_links(link, ROOT / file, page) == led


def test_every_page_is_in_the_contents(extension):
    pages = extension("pages")
    below = set()
    for page, entries in pages.CONTENTS.items():
        for entry in entries:
            target = entry.rpartition("<")[2].rstrip(">")
            below.add((Path(page).parent / target).as_posix())
    written = set()
    for folder in (".", "design", "benchmarks"):
        for path in (pages.DOCS / folder).glob("*.md"):
            written.add(path.relative_to(pages.DOCS).with_suffix("").as_posix())
    assert sorted(written - below) == ["index"]


def test_signs_of_a_docstring_are_kept(extension):
    convert = extension("docstrings").convert
    assert convert("Draws `x_` from |a| * b_.") == "Draws ``x_`` from \\|a\\| \\* b\\_.\n"
    assert convert("The sum:\n    y = a * b\nand so on.") == "The sum:\n\n::\n\n    y = a * b\n\nand so on.\n"
    assert convert("Args:\n    l1, l2: of `w_`") == "Args:\n    l1, l2: of ``w_``\n"
    assert convert("A:\n\n>>> a * b_\n1") == "A:\n\n>>> a * b_\n1\n"


def test_every_kernel_is_described(extension):
    describe = extension("kernels").describe
    for name in rv.kernels.__all__:
        assert describe(name).endswith("."), name
    assert "`rv.matmul`" in describe("matmul")
    assert "`rv.kernels.gelu_tanh`" in describe("gelu_tanh_backward")
