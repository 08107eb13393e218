"""python -m ranvier.torch: programs, their processes, names that stay out, captured steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import ranvier
from support.python import ended, printed

_NOTE = "is in place of torch 2.13.0\n"


def run(*arguments: str, where: Path, stdin: str = "", code: int = 0, **variables: str) -> tuple[str, str]:
    """The output of a command on stdout and stderr, without the note of the mode."""
    done = ended("-m", "ranvier.torch", *arguments, folder=where, stdin=stdin, **variables)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr.partition(_NOTE)[2]


def test_a_program_has_its_arguments_its_folder_and_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "beside.py").write_text("import torch\ntwo = torch.ones(2).sum()\n")
    (tmp_path / "inner" / "program.py").write_text(
        "import sys, pickle, beside\n"
        "class Kept: pass\n"
        "pickle.loads(pickle.dumps(Kept()))\n"
        "print(beside.two, sys.argv[1:], __name__, __file__)\n"
        "sys.exit(3)\n"
    )
    out, errors = run("inner/program.py", "-m", "--report", where=tmp_path, code=3)
    assert out == f"tensor(2.) ['-m', '--report'] __main__ {tmp_path}/inner/program.py\n"
    assert not errors


def test_modules_folders_code_and_stdin_run(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "inner.py").write_text("import torch\n")
    (tmp_path / "package" / "__main__.py").write_text("from .inner import torch\nprint(torch.__name__)\n")
    (tmp_path / "__main__.py").write_text("import torch\nprint(torch.__name__)\n")
    assert run("-m", "package", where=tmp_path)[0] == "torch\n"
    assert run(".", where=tmp_path)[0] == "torch\n"
    code = "import torch, sys; print(torch.__name__, sys.argv)"
    assert run("-c", code, "x", where=tmp_path)[0] == "torch ['-c', 'x']\n"
    assert run("-", "x", where=tmp_path, stdin=code)[0] == "torch ['-', 'x']\n"


def test_an_error_is_shown_from_the_first_line_of_the_program(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import torch\n1 / 0\n")
    _, errors = run("program.py", where=tmp_path, code=1)
    assert errors.splitlines()[1].strip() == f'File "{tmp_path}/program.py", line 2, in <module>'
    assert errors.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.py"], "there is no file nothing.py"),
        (["-x"], "got the option -x"),
        (["-m"], "got -m without its argument"),
        (["-m", "torch.distributed.run", "program.py"], "expected mpirun -n 4 python"),
        (["-m", "torch.utils.collect_env"], "ranvier leaves it out"),
    ],
)
def test_what_cannot_be_run(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = ended("-m", "ranvier.torch", *arguments, folder=tmp_path)
    assert (done.returncode, message in done.stderr) == (1, True), done.stderr


_PROCESSES = """
import concurrent.futures, multiprocessing, subprocess, sys
import joblib, torch

def version(i):
    import torch
    return torch.__version__[6:], float(torch.ones(i).sum())

class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return torch.tensor([float(i)])

if __name__ == "__main__":
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.map(version, [2]))
    print(joblib.Parallel(2)(joblib.delayed(version)(i) for i in [2]))
    print([batch.tolist() for batch in torch.utils.data.DataLoader(Numbers(), 4, num_workers=1)])
    subprocess.run([sys.executable, "-c", "import torch; print(torch.__version__[6:])"])
"""


def test_processes_that_a_program_starts_have_this_library_too(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    (tmp_path / "program.py").write_text(_PROCESSES)
    out, errors = run("program.py", where=tmp_path)
    ours = f"ranvier{ranvier.__version__}"
    lines = [f"[('+{ours}', 2.0)]"] * 3 + ["[[[0.0], [1.0], [2.0], [3.0]]]", f"+{ours}"]
    assert out.splitlines() == lines, errors


_ASKS = """
import torch
hasattr(torch, "only_looked_for")
try:
    from torch.nn import OnlyTried
except ImportError:
    pass
x = torch.zeros(3)
x.put_(torch.tensor([1]), torch.ones(1))
torch.nn.Missing
"""


def test_a_report_tells_missing_names_from_probes_and_counts_calls_of_numpy(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(_ASKS)
    _, errors = run("--report", "program.py", where=tmp_path, code=1)
    lines = errors[errors.index("names that") :].splitlines()
    assert lines[:5] == [
        "names that ranvier does not have:",
        f"  torch.nn.Missing  {tmp_path}/program.py:10",
        "and names that the program only looked for:",
        "  torch.nn.OnlyTried",
        "  torch.only_looked_for",
    ]
    calls = lines[lines.index("calls that ran in NumPy:") :]
    assert any(line.endswith(" write.put") for line in calls)


def test_a_report_of_a_program_that_misses_nothing(tmp_path: Path) -> None:
    _, errors = run("--report", "-c", "import torch; torch.ones(2) + 1", where=tmp_path)
    assert errors.split("\n")[:2] == ["names that ranvier does not have:", "  none"]


def test_a_notebook_loads_it_again() -> None:
    code = """
import importlib, ranvier.torch as extension
extension.load_ipython_extension(None)
import torch
importlib.reload(extension).load_ipython_extension(None)
print(torch.ones(1).tolist())
"""
    assert printed("-c", code) == "[1.0]\n"


# Names that stay out: libraries can import them, a use is refused by name.


_CODE = """
import importlib.util
from typing import Optional
import ranvier.torch
ranvier.torch.install()
import torch
import torch._dynamo.config
from torch._dynamo import allow_in_graph, disable
from torch.distributed.rpc import RRef
from torch.fx import Transformer, replace_pattern

def annotated(x: Optional[Transformer], y: "Transformer[int]") -> Transformer | None: ...

class Derived(Transformer): ...

torch._dynamo.config.suppress_errors = True
assert torch.export.Dim("n").__name__ == "n"
assert not isinstance(torch.nn.Linear(2, 2), Transformer)
assert allow_in_graph(annotated) is annotated is disable(annotated) is disable()(annotated)
assert not torch.compiler.is_compiling() and not torch._dynamo.is_compiling()
with torch.compiler.set_stance("force_eager"):
    torch._logging.set_logs(recompiles=True)
assert not hasattr(torch, "not_a_name") and importlib.util.find_spec("torch.not_a_name") is None
assert not any(hasattr(torch.special, name) for name in ("ops", "nn"))  # modules of ranvier alone
assert torch.ops is not torch.Tensor and torch.zeros(2).layout is not torch.sparse_coo
uses = Derived, Transformer, replace_pattern, RRef, torch.sparse.softmax, torch._dynamo.explain
for use in (*uses, torch.sparse_csr_tensor, torch.export.export, torch.nn.FractionalMaxPool3d):
    try:
        use(1)
    except NotImplementedError as error:
        print(error)
    else:
        raise AssertionError(use)
"""


def test_names_that_stay_out_are_imported_and_refused_when_called() -> None:
    lines = printed("-c", _CODE).splitlines()
    assert lines[0] == "[torch.fx.Transformer] ranvier leaves it out: there are no graphs of modules"
    assert lines[-1].endswith("of volumes this one is missing")
    assert lines[4] == "[torch.sparse.softmax] ranvier leaves it out: all tensors are dense"
    assert all("] ranvier leaves it out: " in line for line in lines)


_UNUSED = """
import torch
from torch.amp.grad_scaler import GradScaler
from torch.distributed import all_to_all_single, all_gather_into_tensor, reduce_scatter_tensor
from torch.distributed._functional_collectives import wait_tensor
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard
from torch.fx.experimental.symbolic_shapes import guard_or_false, statically_known_true

assert Shard(0) == Shard(dim=0) != Shard(1) and Shard(1).is_shard(1) and not Replicate().is_partial()
assert len({Replicate(), Replicate(), Partial()}) == 2 and repr(Shard(2)) == "Shard(dim=2)"
assert guard_or_false(2 > 1) and not statically_known_true(0)
guards = "cuda.is_current_stream_capturing xpu.is_current_stream_capturing _dynamo.utils.is_compiling"
guards += " utils._python_dispatch.is_traceable_wrapper_subclass _C._are_functorch_transforms_active"
guards += " _subclasses.fake_tensor.is_fake fx.experimental.is_fx_tracing _C._dispatch_has_kernel"
guards += " backends.cuda.is_flash_attention_available"
assert not any(eval(f"torch.{guard}()") for guard in guards.split())
assert "fbgemm" not in torch.backends.quantized.supported_engines and [*torch.fx.Transformer] == []
assert not torch._C._has_mkldnn and not isinstance(1, DTensor)

@torch._dynamo.substitute_in_graph(len)
@torch.jit.script_if_tracing
def three(): return 3

assert three() == 3 and torch._dynamo.mark_static_address(torch.ones(1)) is None
try:
    1 / 0
except torch._dynamo.exc.Unsupported:
    pass
except ZeroDivisionError:
    print("passed on")
x, y, z = torch.arange(4.0), torch.zeros(1, 4), torch.zeros(4)
all_gather_into_tensor(y, x), reduce_scatter_tensor(z, 2 * x), torch.distributed.all_to_all([y], [y + z])
assert y.tolist() == [[0.0, 3.0, 6.0, 9.0]]
all_to_all_single(z, x, [4], [4])
print(z.tolist())
"""


def test_names_that_are_only_imported_and_guards() -> None:
    assert printed("-m", "ranvier.torch", "-c", _UNUSED).splitlines() == ["passed on", "[0.0, 1.0, 2.0, 3.0]"]


@pytest.mark.parametrize("path", ["fx.passes", "fx.passes.shape_prop", "sparse_coo", "_dynamo.config"])
def test_the_reason_is_that_of_the_longest_path(path: str) -> None:
    from ranvier.torch.installation.names import why

    assert why(path)
    assert not why("nn")
    assert not why("fxx")


_LACKING = """
import ranvier.torch
ranvier.torch.install()
import torch, torchvision
from torch import nn


lacking = ranvier.torch.installation.names.LACKING.split()
gone = next(name for name in lacking if not hasattr(torch.Tensor, name))
uses = f"torch.nope nn.Nope nn.functional.nope torch.optim.nope torchvision.nope torch.ones(1).{gone}"
for use in f"{uses} torchvision.models.nope torch.Tensor.{gone}".split():
    try:
        eval(use)
    except AttributeError as error:
        print(error)
    owner, _, name = use.rpartition(".")
    assert not hasattr(eval(owner), name) and getattr(eval(owner), name, 5) == 5
lines = "from torch import nope", "from torch.nn import Linear, Nope", "from torchvision.models import nope"
for line in (*lines, "import torch.nope", "from torch.nn.nope import x"):
    try:
        exec(line)
    except ImportError as error:
        assert error.name == line.split()[1], error.name
        assert type(error) is (ImportError if line in lines else ModuleNotFoundError)
        print(error)
from torch import *
"""


def test_a_missing_name_says_whose_it_is() -> None:
    lines = printed("-c", _LACKING).splitlines()
    assert len(lines) == 13
    assert lines[1].startswith("module 'torch.nn' has no attribute 'Nope': ranvier")
    assert lines[9].startswith("cannot import name 'Nope' from 'torch.nn': ranvier")
    assert all("ranvier" in line and "docs/pytorch_names.md" in line for line in lines)


# torch.compile in the mode: a step that uses torch, nn and F by PyTorch's names is captured and replayed.


_COMPILED = """
import contextlib
import sys
import ranvier.torch
ranvier.torch.install()
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
x, y = torch.randn(16, 8), torch.randint(0, 3, (16,))


def trained(compiled):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(torch.tanh(net(x)), y) + torch.nn.functional.relu(x * torch.pi).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    run = torch.compile(step, strict=True) if compiled else step
    ran = []
    sys.setprofile(lambda frame, event, _: ran.append(event) if frame.f_code is step.__code__ else None)
    losses = [float(run(x, y)) for _ in range(12)]
    sys.setprofile(None)
    print(ran.count("call"))
    return losses


assert trained(True) == trained(False)
net = nn.Linear(2, 2)
assert torch.compile(net)._orig_mod is net
expected = net(x[:, :2]).tolist()
net.compile(fullgraph=True)
with torch.no_grad():
    assert [net(x[:, :2]).tolist() for _ in range(9)] == [expected] * 9 and len(net.forward.programs) == 1
net.weight.data.zero_()
assert (net(x[:, :2]) == net.bias).all() and list(net.state_dict()) == ["weight", "bias"]


# --- modes around captured calls
class Doubles(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        y = func(*args, **(kwargs or {}))
        return y * 2 if getattr(func, "__name__", "") in ("relu", "linear") else y


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x):
        return F.relu(self.layer(x)) + 1 + torch.overrides.is_tensor_method_or_property(len)


with Doubles():  # the first one of a process replaces functions
    F.relu(x)
net = Net().eval()
call_counts = ranvier.nn.call_counts
call_counts._ENOUGH = 0.0
with torch.no_grad():
    for run in (torch.compile(lambda x: net.forward(x)), torch.compile(net), net):
        for n in range(90):
            modes = [Doubles] * (n > 20) * (n % 3) + [torch._C.DisableTorchFunction] * (n % 7 == 6)
            with contextlib.ExitStack() as blocks, contextlib.suppress(KeyError):
                for mode in modes:
                    blocks.enter_context(mode())
                assert (run(x) == net.forward(x)).all(), (n, run)
                raise KeyError
    assert call_counts.attached(net, call_counts.REPLAY, None).programs
"""


def test_a_captured_step_is_replayed_with_the_bits_of_eager_steps() -> None:
    found = printed("-c", _COMPILED).split()
    # The checks at calls 4 and 8 are counted; runs under the profile of the recorder are not.
    assert found == ["2", "12"]
