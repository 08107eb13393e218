"""rv.set_consistent: a training run has one hash at every ISA level with FMA. .ci/aarch64 adds aarch64."""

from pathlib import Path

import pytest
import ranvier as rv
from ranvier import _core
from support.python import printed

RUN = Path(__file__).parents[1] / "support" / "digits_run.py"
LEVELS = [level for level in _core.supported_isas() if level != "x86-64-v2"]


@pytest.fixture(autouse=True)
def level_of_before():
    before = _core.isa()
    yield
    _core.set_isa(before)


@pytest.mark.skipif(len(LEVELS) < 2, reason="needs a CPU of two levels with FMA")
def test_a_training_run_has_one_hash_at_every_level():
    found = {}
    for level in LEVELS:
        name, *found[level] = printed(RUN, RANVIER_ISA=level).split()
        assert name == level
    hashes = found[LEVELS[0]]
    assert len(set(hashes)) == 3  # float32, float64, the arithmetic
    assert all(others == hashes for others in found.values())


@pytest.mark.skipif(not LEVELS, reason="needs a CPU with FMA")
def test_the_setting_and_the_digest():
    rv.set_consistent(True)
    assert rv.get_consistent()
    assert _core.isa() in ("x86-64-v3", "aarch64-as-v3")
    digest = rv.config.config()["arithmetic"]
    assert len(digest) == 12
    rv.set_consistent(True)
    assert rv.config.config()["arithmetic"] == digest
    for level in _core.supported_isas():
        _core.set_isa(level)
        assert (rv.config.config()["arithmetic"] == digest) == rv.get_consistent(), level


def test_off_is_the_level_of_the_start(monkeypatch):
    rv.set_consistent(True)
    monkeypatch.delenv("RANVIER_ISA", raising=False)
    rv.set_consistent(False)
    assert _core.isa() == _core.supported_isas()[0]
    monkeypatch.setenv("RANVIER_ISA", _core.supported_isas()[-1])
    rv.set_consistent(False)
    assert _core.isa() == _core.supported_isas()[-1]


def test_refused(monkeypatch):
    with pytest.raises(TypeError, match=r"^\[set_consistent\] got 1; expected True or False$"):
        rv.set_consistent(1)
    monkeypatch.setattr(_core, "supported_isas", lambda: ["x86-64-v2"])
    message = r"^\[set_consistent\] got a CPU of level x86-64-v2; expected one with fused multiply-add"
    with pytest.raises(RuntimeError, match=message):
        rv.set_consistent(True)
