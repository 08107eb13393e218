"""Attributes that a saved file keeps of the one that was there, and saves to one path at the same time.

`replace` writes all files of the library: a new file beside the old one, which then takes its place.
"""

import io
import itertools
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ranvier as rv
from ranvier.data.vision.utils import save_image
from ranvier.tensors import disk
from ranvier.tensors.disk import replace
from ranvier.torch import files
from support.refused import refused

SAVERS = {
    "model": lambda path: rv.save(rv.nn.Linear(2, 2), path),
    "torch": lambda path: files.save(rv.nn.Linear(2, 2), path),
    "image": lambda path: save_image(rv.zeros(3, 4, 4), path),
}
posix = pytest.mark.skipif(os.name == "nt", reason="modes of files")
root = pytest.mark.skipif(getattr(os, "geteuid", bool)() != 0, reason="needs several users")


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@posix
@pytest.mark.parametrize("kind", SAVERS)
def test_a_file_keeps_its_mode(tmp_path, kind):
    path, save = tmp_path / "file.png", SAVERS[kind]
    before = os.umask(0o027)
    try:
        save(path)
        assert mode_of(path) == 0o640
        for mode in (0o600, 0o666, 0o444 if os.geteuid() == 0 else 0o604):
            path.chmod(mode)
            save(path)
            assert mode_of(path) == mode
    finally:
        os.umask(before)


def as_another(call, *groups):
    """True if a process of another user can make the call."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups(groups)
            os.setgid(99)
            os.setuid(99)
            call()
            status = 0
        except PermissionError:
            status = 13
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@root
def test_owners_groups_and_permissions(tmp_path):
    folder = tmp_path
    while folder != folder.parent and folder.stat().st_uid == 0:  # up to the folder of temporary files
        folder.chmod(folder.stat().st_mode | 0o055) if folder != Path("/tmp") else None
        folder = folder.parent
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def saved(owner, group, mode, folder=0o777, *groups):
        os.chown(path, owner, group)
        path.chmod(mode)
        tmp_path.chmod(folder)
        code = as_another(lambda: replace(path, b"new"), *groups)
        found = path.stat()
        return code, found.st_uid, found.st_gid, mode_of(path)

    assert saved(99, 99, 0o400) == (13, 99, 99, 0o400)
    assert path.read_bytes() == b"old"
    assert saved(1, 77, 0o660, 0o777, 77) == (0, 99, 77, 0o660)
    assert saved(1, 55, 0o662) == (0, 99, 99, 0o622)  # what the group might does not hold for another
    assert saved(99, 99, 0o600, 0o755) == (0, 99, 99, 0o600)  # no new file in the folder
    assert saved(1, 1, 0o666, 0o1777) == (0, 1, 1, 0o666)  # nor may one be replaced
    assert [os.listdir(tmp_path), path.read_bytes()] == [["file"], b"new"]
    os.chown(path, 12, 34)
    replace(path, b"")
    assert (path.stat().st_uid, path.stat().st_gid) == (12, 34)


@posix
def test_links(tmp_path):
    path, other, first, second = (tmp_path / name for name in ("file", "other", "first", "second"))
    first.symlink_to(second)
    second.symlink_to(path)
    replace(first, b"a new file")
    os.link(path, other)
    for content in (b"longer than before", b"", b"short"):
        replace(first, content)
        assert other.read_bytes() == path.read_bytes() == content
    assert first.is_symlink()
    assert second.is_symlink()
    (tmp_path / "loop").symlink_to("loop")
    refused(OSError, "Too many levels", replace, tmp_path / "loop", b"")
    assert (tmp_path / "loop").is_symlink()


@posix
def test_attributes_and_long_names(tmp_path):
    path = tmp_path / ("n" * 255)
    replace(path, b"")
    replace(path, b"new")
    if hasattr(os, "setxattr"):
        try:
            os.setxattr(path, "user.note", b"kept")
        except OSError:
            pytest.skip("a file system without attributes")
        replace(path, b"new")
        assert os.getxattr(path, "user.note") == b"kept"


def test_an_open_file_gets_all(tmp_path):
    class Slow(io.RawIOBase):
        content = b""

        def writable(self):
            return True

        def write(self, data):
            self.content += bytes(data[:100])
            return min(len(data), 100)

    for save in (rv.save, files.save):
        save({"x": rv.ones(200)}, file := Slow())
        assert rv.load(io.BytesIO(file.content))["x"].sum() == 200


WAITING = """
import os, sys, time
from ranvier.tensors import disk
def wait(*names):
    print(flush=True)
    time.sleep(100)
os.replace = wait
disk.replace(sys.argv[1], b"killed")
"""


@posix
def test_what_a_killed_save_left_is_removed(tmp_path):
    path = tmp_path / "file"
    (tmp_path / ".file.1234.tmp").write_bytes(b"of an earlier version")
    for name in (".file.mine.tmp", ".file2.1234.tmp"):
        (tmp_path / name).write_bytes(b"not of a save to this path")
    command = [sys.executable, "-c", WAITING, path]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    for process, left in zip(processes, (4, 3), strict=True):
        if left == 4:
            for other in processes:
                other.stdout.readline()
        replace(path, b"new")
        assert len([name for name in os.listdir(tmp_path) if name.endswith(".tmp")]) == left
        process.kill()
        process.communicate()
    replace(path, b"new")
    assert sorted(os.listdir(tmp_path)) == [".file.mine.tmp", ".file2.1234.tmp", "file"]


def test_nothing_is_left_after_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "_flush", lambda *settings: 1 // 0)
    refused(ZeroDivisionError, "by zero", replace, tmp_path / "file", b"")
    assert os.listdir(tmp_path) == []


@posix
def test_a_part_that_is_taken_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    locked, names = disk._is_locked, itertools.count()

    def late(stream, wait=True):
        if wait and next(names) == 0:
            disk.remove_parts(tmp_path, "file".__eq__)
        return locked(stream, wait)

    monkeypatch.setattr(disk, "_is_locked", late)
    replace(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == ["file"]


# A process whose threads save, load, map, replace and serve one path: RANVIER_SECONDS of it
@posix
def test_a_save_during_another_save_does_not_write_into_its_file(tmp_path, monkeypatch):
    """A path that is looked up while its file is being replaced may show the old file, without a link."""
    path = tmp_path / "m"
    path.write_bytes(b"old")
    reader = path.open("rb")
    status_of = os.stat

    def status_while_replaced(name, **options):
        status = list(status_of(name, **options))
        status[stat.ST_NLINK] = 0
        return os.stat_result(status)

    monkeypatch.setattr(disk.os, "stat", status_while_replaced)
    replace(path, b"new")
    monkeypatch.undo()
    with reader:
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


SERVING = """
import random, sys, threading, time
import numpy as np
import ranvier as rv
from ranvier.tensors import mapped_files
from ranvier.torch import files

path, until, size = sys.argv[1], time.monotonic() + float(sys.argv[2]), int(sys.argv[3])
mapped_files.SMALL = 2**12
def model(value):
    made = rv.nn.Linear(size, size)
    with rv.no_grad():
        for p in made.parameters():
            p.fill_(value)
    return made
def check(made):
    values = {float(v) for p in made.parameters() for v in (p.min(), p.max())}
    assert len(values) == 1, values
    with rv.no_grad():
        y = made(rv.ones(2, size)).numpy()
    assert (y == y[0, 0]).all() and y[0, 0] == values.pop() * (size + 1), y
def work(seed):
    draw, kept = random.Random(seed), []
    while time.monotonic() < until:
        what = draw.randrange(6)
        if what == 0:
            rv.save(model(draw.randrange(1, 9)), path)
        elif what == 1:
            files.save(model(draw.randrange(1, 9)).state_dict(), path + ".pt")
        elif what == 2:
            kept.append(rv.load(path))
        elif what == 3:
            kept.append(rv.load(path, into=model(0)))
        elif what == 4:
            made = model(0)
            made.load_state_dict(rv.load(path + ".pt", mmap=draw.random() < 0.5), assign=True)
            kept.append(made)
        elif kept:
            rv.save(draw.choice(kept), path)
        kept = kept[-5:]
        for made in kept:
            check(made)
def run(seed):
    try:
        work(seed)
    except BaseException as error:
        print(type(error).__name__, error, flush=True)
threads = [threading.Thread(target=run, args=(random.random(),)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@posix
@pytest.mark.timeout(900)
def test_processes_and_threads_that_save_load_map_and_serve_one_path(tmp_path):
    """And are killed. RANVIER_SECONDS=600 does it for so long."""
    seconds, draw = float(os.environ.get("RANVIER_SECONDS", "4")), random.Random(0)
    path, until = tmp_path / "m.safetensors", time.monotonic() + seconds
    model = rv.nn.Linear(90, 90)
    with rv.no_grad():
        for p in model.parameters():
            p.fill_(1)
    rv.save(model, path)
    files.save(model.state_dict(), f"{path}.pt")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    kills, said = 0, []

    def start():
        command = [sys.executable, "-c", SERVING, path, str(until - time.monotonic()), "90"]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    processes = [start(), start()]
    while time.monotonic() < until - 2:
        time.sleep(draw.uniform(1, 2))
        victim = processes.pop(draw.randrange(2))
        victim.send_signal(signal.SIGKILL)
        said.append((victim.communicate()[0], victim.returncode))
        kills += 1
        processes.append(start())
    said += [(process.communicate()[0], process.returncode) for process in processes]
    assert {text for text, _ in said} == {b""}
    assert {code for _, code in said} == {0, -signal.SIGKILL}
    assert kills > 0
    replace(path, path.read_bytes())
    replace(f"{path}.pt", Path(f"{path}.pt").read_bytes())
    assert sorted(os.listdir(tmp_path)) == ["m.safetensors", "m.safetensors.pt"]
