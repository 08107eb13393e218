"""Ranks killed at random moments: the job ends, and a resumed run has the bits of an uninterrupted one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.ranks import results, start, told_by

KILLS = int(os.environ.get("RANVIER_RANK_KILLS", "1"))
RUN = "import sys; from support.distributed_runs import killed; killed(*sys.argv[1:])"
EPOCHS = "8"


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # dead, and not yet waited for by its parent


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run tells that is not killed, and its seconds, the start included."""
    begin = time.monotonic()
    (told,) = results(1, RUN, str(tmp_path_factory.mktemp("whole") / "run"), EPOCHS)
    return told, time.monotonic() - begin


def ids(process, ranks):
    """The numbers of the processes of a run that has just begun."""
    pids = []
    while len(pids) < ranks:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        pids += [int(line.split()[1])] if line.startswith("PID ") else []
    return pids


def test_a_rank_that_is_stopped_for_a_while_changes_nothing(whole, tmp_path):
    told, seconds = whole
    with start(2, RUN, str(tmp_path / "run"), EPOCHS) as process:
        pids = ids(process, 2)
        for pid in (pids[1], pids[0], pids[1]):
            time.sleep(seconds / 16)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.5)
            os.kill(pid, signal.SIGCONT)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    assert told_by(subprocess.CompletedProcess([], 0, out, error)) == [told] * 2


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_rank_ends_the_job_which_resumes_with_the_same_bits(seed, whole, tmp_path):
    told, seconds = whole
    draw = random.Random(seed)
    ranks, folder = draw.choice((2, 4)), str(tmp_path / "run")
    with start(ranks, RUN, folder, EPOCHS, "60") as process:
        pids = ids(process, ranks)
        time.sleep(draw.random() * seconds / 2)
        os.kill(draw.choice(pids), signal.SIGKILL)  # at the latest when all is done: the ranks wait
        begin = time.monotonic()
        process.communicate(timeout=60)
    assert process.returncode != 0
    while any(map(alive, pids)):  # mpirun has ended before them
        assert time.monotonic() - begin < 60, "a rank is left"
        time.sleep(0.05)
    print(f"{ranks} ranks ended after {time.monotonic() - begin:.1f} s")
    again = draw.choice((1, 2, 4))
    assert results(again, RUN, folder, EPOCHS) == [told] * again
