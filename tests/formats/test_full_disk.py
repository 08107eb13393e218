"""A disk that is full: what was there is kept, what could not be written is said in one line."""

import errno
import os
import stat
import subprocess
import threading

import numpy as np
import pytest
import ranvier as rv
from ranvier import cli
from ranvier.serialization import files
from ranvier.train import checkpoints
from support.refused import refused
from support.training import X, Y, classifier, trainer_of


def pretended(monkeypatch, fails):
    """The system's flush says that the disk is full, for files whose path `fails` takes."""
    flush = os.fsync

    def full(descriptor):
        if fails(os.readlink(f"/proc/self/fd/{descriptor}")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", full)


@pytest.fixture
def disk(tmp_path):
    """A disk of 256 kB, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("a disk can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    rv.save({"x": 1}, path)
    pretended(monkeypatch, lambda name: True)
    with pytest.raises(
        OSError, match=r"\[save\] cannot write '.*': No space left on device; the file that was"
    ) as e:
        rv.save({"x": 2}, path)
    assert e.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert rv.load(path) == {"x": 1}
    assert os.listdir(tmp_path) == [path.name]


def test_a_disk_that_is_really_full(disk):
    path = disk / "model.safetensors"
    rv.save({"x": np.ones(20_000, np.float32)}, path)
    for save in (
        lambda: rv.save({"x": np.zeros(60_000, np.float32)}, path),
        lambda: rv.save({"x": np.zeros(50_000, np.float32)}, path),  # would fit, were the old one not kept
    ):
        refused(OSError, "No space left on device; the file that was there is kept", save)
        assert rv.load(path)["x"].sum().item() == 20_000
        assert os.listdir(disk) == [path.name]
    with pytest.raises(OSError, match=r"cannot write '.*new.json': No space left on device$"):
        files.replace(disk / "new.json", bytes(250_000))
    assert os.listdir(disk) == [path.name]


def test_links_pipes_and_devices_stay(tmp_path):
    """They get the content; only regular files are replaced."""
    real, link, pipe, device = (tmp_path / name for name in ("real", "link", "pipe", "device"))
    real.write_bytes(b"old")
    link.symlink_to(real)
    files.replace(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    files.replace(pipe, b"new")
    reader.join()
    assert got == [b"new"]
    assert pipe.is_fifo()
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.stat("/dev/full").st_rdev)
    except PermissionError:
        device.symlink_to("/dev/full")
    refused(OSError, "device': No space left on device", files.replace, device, b"new")
    assert device.is_char_device()
    assert {path.name for path in tmp_path.iterdir()} == {"real", "link", "pipe", "device"}


def test_a_run_whose_checkpoints_fill_the_disk_continues_later(disk, tmp_path):
    class Fill(rv.Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 3:
                (disk / "other").write_bytes(bytes(240_000))

    def fit(folder, *callbacks, resume=None):
        trainer = trainer_of(classifier())
        hooks = [*callbacks, rv.Checkpoint(folder, best=False)]
        trainer.fit(X, Y, epochs=8, callbacks=hooks, resume=resume)
        return dict(trainer.model.state_dict())

    whole = fit(tmp_path / "whole")
    refused(OSError, "No space left on device", fit, disk, Fill())
    assert checkpoints.listed(disk)[0].name == "checkpoint-00003-000000.safetensors"
    (disk / "other").unlink()
    resumed = fit(disk, resume=disk)
    assert all(np.array_equal(resumed[name].numpy(), whole[name].numpy()) for name in whole)


@pytest.mark.parametrize("before", [False, True])
def test_the_command_saves_the_model_elsewhere(tmp_path, monkeypatch, capsys, before):
    out, elsewhere = tmp_path / "out" / "iris.safetensors", tmp_path / "temporary"
    elsewhere.mkdir()
    out.parent.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    if before:
        rv.save({"x": 1}, out)
    pretended(monkeypatch, lambda name: name.startswith(str(out.parent)))
    assert cli.main(["train", "iris", "--epochs", "2", "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"ranvier: error: [save] cannot write '{out}': No space left on device; ")
    assert error.count("\n") == 1
    (found,) = elsewhere.glob("*/iris.safetensors")
    assert error.endswith(f"the model is in '{found}'\n")
    assert rv.serialization.info(found).link == "softmax"
    if before:
        assert rv.load(out) == {"x": 1}
    else:
        assert not out.exists()


def test_the_command_and_its_other_files(tmp_path, monkeypatch, capsys):
    out = tmp_path / "iris.safetensors"
    pretended(monkeypatch, lambda name: "figures.json" in name)
    arguments = [
        "train",
        "iris",
        "--epochs",
        "2",
        "--out",
        str(out),
        "--json",
        str(tmp_path / "figures.json"),
    ]
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("ranvier: error: [save] cannot write ")
    assert error.endswith(f"No space left on device; '{out}' is saved\n")
    assert rv.load(out) is not None
