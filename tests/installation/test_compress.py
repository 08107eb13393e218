"""What packaging/compress.py leaves out of the files of a wheel."""

import importlib.util
import textwrap
from pathlib import Path

import pytest

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
