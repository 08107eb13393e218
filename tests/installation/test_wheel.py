"""The parts of a wheel's files that packaging/compress.py leaves out, and what packaging/check.py refuses."""

import textwrap
import zipfile
from pathlib import Path

import pytest
from ranvier import _core
from support.imported import imported
from support.python import printed

PACKAGING = Path(__file__).parents[2] / "packaging"
compress = imported(PACKAGING / "compress.py")


def test_comments_and_private_docstrings():
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


def test_addresses_that_the_loader_writes(tmp_path):
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


MACH_O, PE = b"\xcf\xfa\xed\xfe", b"MZ"  # the first bytes of shared objects of macOS and of Windows


@pytest.mark.parametrize("content", [b"", MACH_O + bytes(60), PE + bytes(62)])
def test_other_shared_objects_stay_as_they_are(content):
    assert compress.without_addresses(content) == content


@pytest.mark.parametrize(("core", "faults"), [(b"x86-64-v4 x86-64-v3 x86-64-v2", 0), (b"x86-64-v4", 1)])
def test_a_wheel_has_all_levels(tmp_path, core, faults):
    wheel = tmp_path / "ranvier-0.1.0-cp311-cp311-win_amd64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("ranvier/_core.cp311-win_amd64.pyd", core)
    found = imported(PACKAGING / "check.py").faults(wheel)
    assert found == ["it lacks levels: it was not built with RANVIER_LEVELS=all"] * faults
