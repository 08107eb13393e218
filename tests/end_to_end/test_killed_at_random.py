"""SIGKILL at random moments of training and saving: nothing is lost, and the weights are an unbroken run's.

A process is killed after a random time, started again, and so on until it comes to its end; then another run
begins, until there were enough kills. The suite does a few; some minutes take
`RANVIER_KILLS=200 pytest tests/end_to_end/test_killed_at_random.py`.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ranvier as rv
from ranvier.serialization.files import read_checkpoint
from ranvier.train import checkpoints
from support.killed_network import KINDS

SCRIPT = Path(__file__).parents[1] / "support" / "killed_network.py"
KILLS = int(os.environ.get("RANVIER_KILLS", "0"))
CLI = ["-u", "-m", "ranvier", "train", "iris", "--epochs", "25", "--batch-size", "16"]


def command(kind, folder, result):
    if kind == "command line":
        return [*CLI, "--out", str(result), "--checkpoint", str(folder), "--resume"]
    return [str(SCRIPT), str(folder), str(result), kind]


class Life:
    """One process of a run."""

    def __init__(self, kind, folder, result, threads):
        package = str(Path(rv.__file__).parents[1])
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": package}
        self.process = subprocess.Popen(
            [sys.executable, *command(kind, folder, result)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self):
        """Waits for the first line, which is printed before the first step."""
        self.process.stdout.readline()

    def finish(self):
        _, error = self.process.communicate(timeout=120)
        assert (self.process.returncode, error) == (0, "")

    def kill(self):
        """Whether it was still running."""
        self.process.send_signal(signal.SIGKILL)
        _, error = self.process.communicate()
        assert self.process.returncode in (0, -signal.SIGKILL), error
        return self.process.returncode != 0


def require_whole(folder, known):
    """Every file in the folder can be read, and the newest checkpoint is not older than before."""
    found = checkpoints.listed(folder)
    for path in found:
        read_checkpoint(path)
    for path in folder.glob("best.safetensors"):
        assert rv.serialization.files.read(path)[0]
    newest = found[0].name if found else ""
    assert newest >= known, "a checkpoint was lost"
    return newest


@pytest.mark.parametrize("kind", [*KINDS, "command line"] if KILLS else ["norm", "command line"])
@pytest.mark.timeout(1200)
def test_killed_at_random_moments(tmp_path, kind):
    wanted = KILLS // (len(KINDS) + 1) or 1
    expected = tmp_path / "expected.safetensors"
    whole = Life(kind, tmp_path / "whole", expected, 2)
    whole.ready()
    begun = time.monotonic()
    whole.finish()
    span = time.monotonic() - begun
    draw, kills, runs = random.Random(f"{kind} {KILLS}"), 0, 0
    while kills < wanted:
        folder, result, known = tmp_path / f"run{runs}", tmp_path / f"result{runs}.safetensors", ""
        runs += 1
        reach = 0.6 * span
        while True:
            reach *= 1.2  # a life that always ends before the run would never end
            life = Life(kind, folder, result, 1 + kills % 2)
            if draw.random() < 0.9:
                life.ready()
                time.sleep(draw.uniform(0, reach))
            else:  # during imports
                time.sleep(draw.uniform(0, 0.5))
            if not life.kill():
                break
            kills += 1
            known = require_whole(folder, known) if folder.exists() else known
        assert hashlib.sha256(result.read_bytes()).digest() == hashlib.sha256(expected.read_bytes()).digest()
        assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")], "an unfinished file"
    print(f"{kind}: {kills} kills in {runs} runs, {span:.2f} s unbroken")
