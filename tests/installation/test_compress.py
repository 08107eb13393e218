"""What packaging/compress.py leaves out of the files of a wheel."""

import importlib.util
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from ranvier import _core

SCRIPT = Path(__file__).parents[2] / "packaging" / "compress.py"


@pytest.fixture(scope="module")
def compress():
    spec = importlib.util.spec_from_file_location("compress", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_comments_and_private_docstrings(compress):
    written = '''
        """Of the module."""
        import functools


        def public(x):
            """Of a public function."""  # with a comment
            return _called(x) + "# no comment"


        def _called(x):
            """Two
            lines."""
            return x


        def _passed_on():
            """Shown by help(alias)."""
            return 1


        def _empty():
            """A body of nothing else."""


        @functools.cache
        def _decorated():
            """Of an object that stays."""
            return 2


        class Names:
            """Of a class."""

            alias = _passed_on

            def __len__(self):
                """A special method."""
                return 0
        '''
    text = textwrap.dedent(written)
    expected = text.replace("  # with a comment", "").replace('    """Two\n    lines."""\n', "\n\n")
    assert compress.shortened(text.encode()).decode() == expected


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs an ELF file")
def test_module_without_addresses(compress, tmp_path):
    """The loader fills them in: the module works, and so do its tables of kernels."""
    module = Path(_core.__file__)
    content = module.read_bytes()
    made = compress.without_addresses(content)
    assert len(made) == len(content)
    assert made.count(0) >= content.count(0)  # some linkers write zeros themselves
    (tmp_path / module.name).write_bytes(made)
    code = "import _core, numpy; print(_core.__file__, _core.add(numpy.ones(3), numpy.ones(3)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split(maxsplit=1) == [str(tmp_path / module.name), "[2. 2. 2.]\n"], done.stderr
