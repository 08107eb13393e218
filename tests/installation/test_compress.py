"""What packaging/compress.py leaves out of the files of a wheel."""

import importlib.util
import textwrap
from pathlib import Path

import pytest
from ranvier import _core
from support.python import printed

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


def test_addresses_that_the_loader_writes(compress, tmp_path):
    content = Path(_core.__file__).read_bytes()
    changed = compress.without_addresses(content)
    assert len(changed) == len(content)
    assert compress.without_addresses(changed) == changed
    copy = tmp_path / Path(_core.__file__).name
    copy.write_bytes(changed)
    code = f"""
        import importlib.util, sys
        spec = importlib.util.spec_from_file_location("ranvier._core", {str(copy)!r})
        sys.modules["ranvier._core"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["ranvier._core"])
        import ranvier as rv
        from ranvier.ops.matrix.matmul import _core
        print((rv.ones(3, 4) @ rv.ones(4, 2)).sum().item(), _core.__file__)
        """
    assert printed("-c", textwrap.dedent(code)).split() == ["24.0", str(copy)]


@pytest.mark.parametrize("content", [b"", b"\xcf\xfa\xed\xfe" + bytes(60), b"MZ" + bytes(62)])
def test_other_shared_objects_stay_as_they_are(compress, content):
    assert compress.without_addresses(content) == content
