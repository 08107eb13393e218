"""A run that is killed with SIGKILL, at any moment, and resumed ends with the bits of one that was not.

Each run is a separate process. The test watches the folder of checkpoints and kills the process when a file
is being written (between its first byte and the renaming), when a new checkpoint is there (before older ones
are removed), or after some time: during imports, steps or anything else. RANVIER_KILLS=200 kills each kind of
run that often, which takes minutes.
"""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ranvier as rv
from ranvier.serialization.files import read, read_checkpoint
from ranvier.train import checkpoints

KILLS = max(6, int(os.environ.get("RANVIER_KILLS", "0")))
# Each life of a run writes up to three checkpoints, and a few more before the process is killed: a fast
# machine must not come to the end before the last kill. An epoch writes six checkpoints or more.
EPOCHS = max(10, 2 * KILLS)
KINDS = ["loader"]  # which has most to keep
if "RANVIER_KILLS" in os.environ:
    KINDS += ["arrays", "images"]
SCRIPT = Path(__file__).parent / "killed_run.py"


@pytest.fixture
def start():
    """A function that starts a run; what still runs at the end of the test is ended."""
    processes = []

    def started(folder, result, kind, threads=1):
        """A process of killed_run.py: checkpoints go to the folder, the state at the end to `result`."""
        package = str(Path(rv.__file__).parents[1])
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": package}
        command = [sys.executable, str(SCRIPT), str(folder), str(result), kind, str(EPOCHS)]
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield started
    for process in processes:
        process.kill()
        process.wait()
        process.stderr.close()


def names(folder, kind):
    """The files of the folder that are parts ("writing") or whole ("written")."""
    found = os.listdir(folder) if os.path.isdir(folder) else []
    if kind == "writing":
        return {name for name in found if name.startswith(".checkpoint") and name.endswith(".tmp")}
    return {name for name in found if name.startswith("checkpoint")}


def wait_for(process, folder, moment):
    """Return at the moment, or when the process has ended.

    moment: ("seconds", s) from now on, ("seconds after", s) from the first checkpoint on, or when a number of
    new files is there: ("writing", n) of files that are being written, ("written", n) of checkpoints.
    """
    what, amount = moment
    if what == "seconds":
        until = time.monotonic() + amount
        while time.monotonic() < until and process.poll() is None:
            time.sleep(0.002)
        return
    if what == "seconds after":  # the first checkpoint of this life
        wait_for(process, folder, ("written", 1))
        wait_for(process, folder, ("seconds", amount))
        return
    before = names(folder, what)
    seen = set(before)
    while process.poll() is None:
        now = names(folder, what)
        seen |= now
        before &= now  # what an earlier life left may go, and come again under the same name
        if len(seen - before) >= amount:
            return
        time.sleep(0.0002)


def moments(seed):
    """Kinds of moments in turn, each a little different every time."""
    draw = random.Random(seed)
    while True:
        yield "writing", draw.choice([1, 2, 3])
        yield "seconds", draw.uniform(0.0, 0.3)  # imports, the model, reading the checkpoint
        yield "writing", draw.choice([2, 3])
        yield "seconds after", draw.uniform(0.0, 0.02)  # between two epochs' ends
        yield "written", draw.choice([1, 2, 3])
        yield "writing", draw.choice([2, 3])


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_moment(tmp_path, start, kind):
    expected = tmp_path / "expected.safetensors"
    whole = start(tmp_path / "whole", expected, kind)
    folder = tmp_path / "killed"
    result = tmp_path / "result.safetensors"
    killed = 0
    cut_off = 0  # kills during the writing of a file
    for moment in itertools.islice(moments(kind), KILLS):
        known = [path.name for path in checkpoints.listed(folder)]  # newest first
        parts = names(folder, "writing")
        process = start(folder, result, kind, threads=1 + killed % 2)
        wait_for(process, folder, moment)
        process.send_signal(signal.SIGKILL)
        _, error = process.communicate()
        if process.returncode == 0:  # it had come to its end before
            break
        assert process.returncode == -signal.SIGKILL, error
        killed += 1
        cut_off += bool(names(folder, "writing") - parts)
        for path in checkpoints.listed(folder):
            read_checkpoint(path)
        for path in folder.glob("best.safetensors"):
            assert read(path)[0]
        left = [path.name for path in checkpoints.listed(folder)]
        assert left[:1] >= known[:1], "a checkpoint was lost"
    assert killed >= KILLS - 2
    assert cut_off > 0, "no kill fell into the writing of a checkpoint"

    process = start(folder, result, kind, threads=2)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, "")
    _, error = whole.communicate(timeout=60)
    assert (whole.returncode, error) == (0, "")
    assert rv.load(result)["history"] == rv.load(expected)["history"]
    assert result.read_bytes() == expected.read_bytes()
    origins = Path(folder, "lives.txt").read_text().splitlines()
    assert origins == sorted(origins)
    assert len(set(origins)) > KILLS // 3
    assert names(folder, "writing") == set()
