"""A run ends with the same bits whether it was killed and resumed, compiled or not, or made in parts.

RANVIER_KILL_POINTS=all stops before every batch; otherwise before the first, after an epoch, and within one.
"""

import os

import pytest
import ranvier as rv
from support.resumed import BATCHES, EPOCHS, MODELS, Stop, fit, sha256, trainer

POINTS = range(BATCHES) if os.environ.get("RANVIER_KILL_POINTS") == "all" else (0, 7, 17)
UNBROKEN = {}


def unbroken(kind):
    if kind not in UNBROKEN:
        rv.set_num_threads(1)
        UNBROKEN[kind] = sha256(fit(trainer(kind)))
    return UNBROKEN[kind]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("point", POINTS)
def test_stopped_and_resumed(kind, count, point, tmp_path, threads):
    expected = unbroken(kind)
    threads(count)
    with pytest.raises(ZeroDivisionError):
        fit(trainer(kind), callbacks=[rv.Checkpoint(tmp_path, every_batches=1), Stop(point)])
    again = fit(trainer(kind), callbacks=[rv.Checkpoint(tmp_path, every_batches=1)], resume=tmp_path)
    assert sha256(again) == expected


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_compiled_or_not(kind, count, threads):
    expected = unbroken(kind)
    threads(count)
    compiled = fit(trainer(kind))
    assert compiled.programs("fit")
    assert sha256(compiled) == expected
    eager = fit(trainer(kind, compile=False))
    assert not eager.programs("fit")
    assert sha256(eager) == expected


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("compiled", [(True, True), (True, False), (False, True)])
def test_shorter_runs_one_after_another(kind, compiled, tmp_path, threads):
    """The second part by the same trainer, or by another from the first one's checkpoint."""
    expected = unbroken(kind)
    threads(2)
    first = fit(trainer(kind, compiled[0]), EPOCHS // 2, callbacks=[rv.Checkpoint(tmp_path)])
    assert sha256(fit(first, EPOCHS - EPOCHS // 2)) == expected
    assert sha256(fit(trainer(kind, compiled[1]), resume=tmp_path)) == expected


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("batches", [9, 16])
def test_interrupted_and_resumed(kind, batches, tmp_path, threads):
    expected = unbroken(kind)
    threads(2)
    stop = Stop(batches, KeyboardInterrupt)
    stopped = fit(trainer(kind), callbacks=[rv.Checkpoint(tmp_path, every_batches=1), stop])
    assert len(stopped.history["loss"]) < EPOCHS
    assert sha256(fit(trainer(kind), resume=tmp_path)) == expected
