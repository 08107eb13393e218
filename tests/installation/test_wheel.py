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
        """Stays: the module's."""
        import functools


        def public(x):
            """Stays: the name is public."""  # goes
            return _called(x) + "# stays: no comment"


        def _called(x):
            """Goes: the function
            is private, and only called."""
            return x


        def _passed_on():
            """Stays: help(alias) shows it."""
            return 1


        def _empty():
            """Stays: the body has nothing else."""


        @functools.cache
        def _decorated():
            """Stays: the decorator's result has it."""
            return 2


        class Names:
            """Stays: a class's."""

            alias = _passed_on

            def __len__(self):
                """Stays: a special method's."""
                return 0
        '''
    text = textwrap.dedent(written)
    docstring = '    """Goes: the function\n    is private, and only called."""\n'
    expected = text.replace("  # goes", "").replace(docstring, "\n\n")  # lines keep their numbers
    assert compress.shortened(text.encode()).decode() == expected


def test_addresses_that_the_loader_writes(compress, tmp_path):
    """Without them the core has the same length; it is loaded from a copy, and computes."""
    content = Path(_core.__file__).read_bytes()
    changed = compress.without_addresses(content)
    assert len(changed) == len(content)
    assert compress.without_addresses(changed) == changed  # all of them
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


OTHER_FORMATS = {  # the first bytes of a shared object
    "empty": b"",
    "Mach-O, of macOS": b"\xcf\xfa\xed\xfe" + bytes(60),
    "PE, of Windows": b"MZ" + bytes(62),
}


@pytest.mark.parametrize("content", OTHER_FORMATS.values(), ids=OTHER_FORMATS)
def test_other_shared_objects_stay_as_they_are(compress, content):
    assert compress.without_addresses(content) == content
