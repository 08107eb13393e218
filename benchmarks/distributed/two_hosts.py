"""A run on two hosts that is cut off and resumed: ``python -m benchmarks.distributed.two_hosts``.

The hosts are namespaces of this machine with addresses and names of their own and one link, which needs root
and the command `ip`. The link goes down within the run. The job has to end with a message that names the
rank, and the resumed job has to give the SHA-256 of the weights of one process.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from support.ranks import SETTINGS, mpirun

TIMEOUT = 10  # seconds that a call waits for other ranks
RUN = """
import os, sys, time
import ranvier as rv
from support.distributed_runs import cnn, data, weights_of
x, y = data(4096)
rv.manual_seed(1)
trainer = rv.Trainer(cnn(), "cross_entropy", "adam", distributed=True)
print("pid", rv.distributed.rank(), os.getpid(), flush=True)
slower = rv.LambdaCallback(on_batch_end=lambda batch, logs: time.sleep(0.002))  # time for an accident
trainer.fit(x, y, epochs=8, batch_size=64, verbose=False, resume=sys.argv[1],
            callbacks=[rv.Checkpoint(sys.argv[1], every_batches=20), slower])
if rv.distributed.rank() == 0:
    print("weights", weights_of(trainer.model), flush=True)
"""


def environment() -> dict[str, str]:
    sources = [str(Path(__file__).parents[2] / folder) for folder in ("python", "tests")]
    installed = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    more = {"PYTHONPATH": os.pathsep.join([*filter(None, installed), sources[1]]), "OMP_NUM_THREADS": "1"}
    return os.environ | SETTINGS | more


def start(folder: Path, ranks: int, *around: str, **more: str) -> subprocess.Popen[str]:
    command = [*around, mpirun(), "-n", str(ranks), *HOSTS.get(around[:1], []), sys.executable, "-c", RUN]
    return subprocess.Popen(
        [*command, str(folder)],
        env=environment() | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


HOSTS: dict[tuple[str, ...], list[str]] = {}  # options of mpirun within a namespace


def weights(process: subprocess.Popen[str]) -> str:
    text = process.communicate(timeout=300)[0]
    found = re.search(r"weights (\w{64})", text)
    if process.returncode or found is None:
        raise RuntimeError(text)
    return found[1]


def wait_for(folder: Path, process: subprocess.Popen[str], seconds: float) -> None:
    """Until the first checkpoint and then for some seconds, while the run lasts."""
    while process.poll() is None and not list(folder.glob("*.safetensors")):
        time.sleep(0.01)
    time.sleep(seconds)


AGENT = """#!/bin/bash
name=rv${1##*.}; shift
exec ip netns exec $name unshare --uts /bin/bash -c "hostname $name; $*"
"""


@contextlib.contextmanager
def two_hosts(base: Path) -> Iterator[dict[str, str]]:
    """Hosts 10.77.0.1 and .2, with one link; the settings of mpirun."""

    def ip(command: str) -> None:
        subprocess.run(["ip", *command.split()], check=True)

    names = ("rv1", "rv2")
    for name in names:
        ip(f"netns add {name}")
    try:
        ip("link add rvlink1 netns rv1 type veth peer name rvlink2 netns rv2")
        for number, name in enumerate(names, 1):
            ip(f"-n {name} addr add 10.77.0.{number}/24 dev rvlink{number}")
            ip(f"-n {name} link set lo up")
            ip(f"-n {name} link set rvlink{number} up")
            lower = "echo 5 > /proc/sys/net/ipv4/tcp_retries2"  # mpirun waits for TCP, 15 minutes otherwise
            subprocess.run(["ip", "netns", "exec", name, "bash", "-c", lower], check=True)
        (base / "agent").write_text(AGENT)
        (base / "agent").chmod(0o755)
        (base / "hosts").write_text("10.77.0.1 slots=1\n10.77.0.2 slots=1\n")
        HOSTS[("ip",)] = ["--hostfile", str(base / "hosts"), "--map-by", "node"]
        yield {"PRTE_MCA_plm": "ssh", "PRTE_MCA_plm_ssh_agent": str(base / "agent"), "TMPDIR": str(base)}
    finally:
        for name in names:
            ip(f"netns del {name}")


def main() -> None:
    named = ("unshare", "--uts", "bash", "-c", 'hostname rv1; exec "$@"', "bash")
    around = ("ip", "netns", "exec", "rv1", *named)
    with tempfile.TemporaryDirectory(prefix="rv") as name:
        base = Path(name)
        expected = weights(start(base / "whole", 1))
        with two_hosts(base) as settings:
            more = settings | {"RANVIER_TIMEOUT": str(TIMEOUT)}
            run = start(base / "run", 2, *around, **more)
            wait_for(base / "run", run, 0.5)
            subprocess.run(["ip", "-n", "rv1", "link", "set", "rvlink1", "down"], check=True)
            begun = time.monotonic()
            text = run.communicate(timeout=300)[0]
            print(f"cut off: ended after {time.monotonic() - begun:.1f} s with exit {run.returncode}\n{text}")
            if "has waited" not in text:
                raise SystemExit("the run ended before the link was cut")
            left = subprocess.run(
                ["ip", "netns", "pids", "rv2"], capture_output=True, text=True
            ).stdout.split()
            print(f"processes left on the other host: {len(left)}")
            subprocess.run(["ip", "-n", "rv1", "link", "set", "rvlink1", "up"], check=True)
            resumed = weights(start(base / "run", 2, *around, **more))
    print(f"resumed on two hosts: {resumed[:16]}, one process: {expected[:16]}")
    if resumed != expected:
        raise SystemExit("the weights differ")


if __name__ == "__main__":
    main()
