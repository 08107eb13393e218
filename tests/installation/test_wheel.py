"""What packaging/check.py refuses of a wheel: small archives with one fault each, and the message for it."""

import zipfile
from pathlib import Path

import pytest
from support.imported import imported

PACKAGING = Path(__file__).parents[2] / "packaging"


@pytest.mark.parametrize(("core", "faults"), [(b"x86-64-v4 x86-64-v3 x86-64-v2", 0), (b"x86-64-v4", 1)])
def test_a_wheel_has_all_levels(tmp_path, core, faults):
    wheel = tmp_path / "ranvier-0.1.0-cp311-cp311-win_amd64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("ranvier/_core.cp311-win_amd64.pyd", core)
    found = imported(PACKAGING / "check.py").faults(wheel)
    assert found == ["it lacks levels: it was not built with RANVIER_LEVELS=all"] * faults
