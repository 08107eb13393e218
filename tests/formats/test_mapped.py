"""Files on the disk: weights that are mapped, and a disk that is full.

A mapped file is read as its values are needed: they must stay when the file is written, cut or removed.
"""

import errno
import os
import pickle
import shutil
import stat
import subprocess
import threading

import numpy as np
import pytest
import ranvier as rv
from ranvier import cli, nn
from ranvier.serialization.files import replace
from ranvier.tensors import mapped_files
from ranvier.tensors.storage import UntypedStorage
from ranvier.torch import files
from ranvier.train import checkpoints
from support.python import printed
from support.refused import refused
from support.training import X, Y, classifier, trainer_of


@pytest.fixture
def maps(monkeypatch):
    """Small files are mapped, too."""
    if os.name == "nt":
        pytest.skip("no file is mapped")
    monkeypatch.setattr(mapped_files, "SMALL", 0)


def test_a_file_is_mapped(path, maps):
    """Changes stay in the process, and the file may be replaced and removed."""
    rv.save({"a": rv.ones(2000), "bits": rv.tensor([True])}, path)
    before = path.read_bytes()
    a = rv.load(path)["a"]
    a[0] = 5
    assert path.read_bytes() == before
    rv.save({"a": rv.zeros(2000)}, path)
    assert (a[0].item(), a[1].item(), rv.load(path)["a"].sum().item()) == (5.0, 1.0, 0.0)
    path.unlink()
    assert a.sum().item() == 2004.0
    assert a.untyped_storage().nbytes() == 8000
    assert len(pickle.dumps(a)) < 9000
    model = nn.Linear(2000, 1)
    rv.nn.Module.load_state_dict(model, {"weight": a.view(1, 2000), "bias": a[:1]}, assign=True)
    a[1] = 7
    assert model.weight[0, 1].item() == 7.0


@pytest.mark.parametrize("dtype", [rv.float64, rv.float16, rv.bfloat16, rv.float32])
def test_a_model_has_the_memory_of_its_file(path, dtype, maps):
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Linear(2, 2))
    model.append(model[2])
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.to(dtype) if tensor.is_floating_point() else tensor.data
    rv.save(model, path)
    back = rv.load(path)
    assert back[3] is back[2]
    for name, x in model.state_dict().items():
        y = back.state_dict()[name]
        assert (y.dtype, y.tolist(), y.stride()) == (x.dtype, x.tolist(), x.stride())
    assert isinstance(back[2].weight._array.base, mapped_files.MappedFile)
    with rv.no_grad():
        back[2].weight.zero_()
    assert rv.load(path)[2].weight.tolist() == model[2].weight.tolist()


def test_small_files_are_read(path):
    rv.save(nn.Linear(9, 9), path)
    assert rv.load(path).weight._array.base is None


def test_numbers_at_odd_places(path, maps):
    header = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
    header += b'"b":{"dtype":"F64","shape":[1],"data_offsets":[1,9]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\7" + np.float64(1.5).tobytes())
    back = rv.load(path)
    assert (back["a"].tolist(), back["b"].tolist()) == ([7], [1.5])
    assert back["b"]._array.flags.aligned


def loaded(path, kind):
    """Ones in the memory of a new file."""
    path.unlink(missing_ok=True)
    if kind == "model":
        rv.save({"x": rv.ones(3000)}, path)
        return rv.load(path)["x"]
    files.save(rv.ones(3000), path)
    return rv.load(path, mmap=True)


def into_open(write, path, mode="wb", **settings):
    with open(path, mode, **settings) as file:
        write(file)


def through_a_link(path):
    path.with_name("link").symlink_to(path)
    path.with_name("link").write_bytes(b"")


def all_links(path):
    os.link(path, path.with_name("other"))
    rv.save({"x": rv.zeros(3000)}, path)


WRITERS = {
    "save": lambda path, x: into_open(lambda file: rv.save({"x": x}, file), path, buffering=0),
    "torch.save": lambda path, x: into_open(lambda file: files.save(x, file), path),
    "copy": lambda path, x: shutil.copyfile(__file__, path),
    "NumPy": lambda path, x: np.zeros(9).tofile(path),
    "truncate": lambda path, x: os.truncate(path, 5),
    "ftruncate": lambda path, x: into_open(lambda file: os.ftruncate(file.fileno(), 0), path, "r+b"),
    "link": lambda path, x: through_a_link(path),
    "links": lambda path, x: all_links(path),
    "written": lambda path, x: into_open(lambda file: file.write(bytes(10000)), path, "r+b"),
}


@pytest.mark.parametrize("kind", ["model", "torch"])
@pytest.mark.parametrize("writer", WRITERS)
def test_values_stay_where_this_process_writes_their_file(path, maps, kind, writer):
    x, y = loaded(path, kind), rv.load(path, mmap=kind == "torch" or None)
    y = y["x"] if kind == "model" else y
    x[1] = 5  # a page of its own, which would go, too
    WRITERS[writer](path, x)
    assert (x.sum().item(), y.sum().item()) == (3004, 3000)
    if "save" in writer:
        back = rv.load(path)
        assert (back["x"] if writer == "save" else back).sum() == 3004


def test_a_mapped_file_that_cannot_be_copied_is_not_opened(path, maps, monkeypatch):
    x, content = loaded(path, "model"), path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *names: os.rename("missing", *names[1:]))
    refused(OSError, f"copy '{path}', of which values are mapped, before", into_open, bool, path)
    assert path.read_bytes() == content
    assert x.sum() == 3000
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("kind", ["model", "torch"])
def test_what_another_process_cuts_is_an_error_with_its_name(path, maps, kind):
    x, module = loaded(path, kind), nn.Module()
    module.x = nn.Parameter(x[5:][::2])
    os.utime(path)
    module.state_dict()
    copy = "import shutil, sys; shutil.copyfile(*sys.argv[1:])"
    path.with_name("same").write_bytes(path.read_bytes())
    printed("-c", copy, path.with_name("same"), path)
    for call in (
        lambda: rv.save({"x": x}, path.with_name("new")),
        lambda: files.save(x, path.with_name("new")),
        module.state_dict,
        lambda: nn.Linear(1, 1).load_state_dict({"bias": x[:1]}, strict=False),
    ):
        refused(OSError, f"mapped file '{path}', which another program has cut", call)


@pytest.mark.parametrize("kept", [1, 4096, 5000])
def test_a_file_that_another_process_cuts_and_fills_again_is_an_error(path, maps, kept):
    """The size is that of before: only the mark of the mapping shows that values were lost."""
    x = loaded(path, "model")
    code = "import os, sys; size = os.path.getsize(sys.argv[1])\n"
    code += f"for n in ({kept}, size): os.truncate(sys.argv[1], n)"
    printed("-c", code, path)
    refused(OSError, "which another program has cut", rv.save, {"x": x}, path.with_name("new"))


def test_a_file_that_is_open_for_writing_is_read(path, maps):
    with open(path, "w+b") as file:
        rv.save({"x": rv.ones(3000)}, file)
        file.flush()
        x = rv.load(path)["x"]
        file.truncate(0)
    assert x.sum() == 3000


def test_mappings_need_neither_open_files_nor_memory(path, maps):
    rv.save(nn.Linear(99, 99), path)
    files.save(rv.ones(9), path.with_suffix(".pt"))
    before, used = os.listdir("/dev/fd"), rv.memory_stats()["bytes_in_use"]
    kept = [rv.load(path) for _ in range(50)]
    kept += [rv.load(path.with_suffix(".pt"), mmap=True) for _ in range(50)]
    kept += [UntypedStorage.from_file(str(path), shared, 9) for shared in (False, True) for _ in range(9)]
    assert os.listdir("/dev/fd") == before
    assert rv.memory_stats()["bytes_in_use"] - used < 50 * 99  # the layers' first memory is not kept
    kept[-1]._array[0] = 0
    assert path.read_bytes()[0] == kept[-2]._array[0] == 0  # shared by intention


# A disk that is full: what was there is kept, what could not be written is said in one line.


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
    with pytest.raises(OSError, match=r"\[save\] cannot write '.*': No space left on device; the file") as e:
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
        replace(disk / "new.json", bytes(250_000))
    assert os.listdir(disk) == [path.name]


def test_pipes_and_devices_stay(tmp_path):
    """They get the content; only regular files are replaced."""
    pipe, device = tmp_path / "pipe", tmp_path / "device"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    replace(pipe, b"new")
    reader.join()
    assert got == [b"new"]
    assert pipe.is_fifo()
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.stat("/dev/full").st_rdev)
    except PermissionError:
        device.symlink_to("/dev/full")
    refused(OSError, "device': No space left on device", replace, device, b"new")
    assert device.is_char_device()
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "device"}


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
    figures = str(tmp_path / "figures.json")
    assert cli.main(["train", "iris", "--epochs", "2", "--out", str(out), "--json", figures]) == 1
    error = capsys.readouterr().err
    assert error.startswith("ranvier: error: [save] cannot write ")
    assert error.endswith(f"No space left on device; '{out}' is saved\n")
    assert rv.load(out) is not None
