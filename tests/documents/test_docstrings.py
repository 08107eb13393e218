"""Every public name has an example in its docstring; each runs and prints what it says."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest
import ranvier as rv
from ranvier import _core
from ranvier.config import CONSISTENT_LEVELS
from support.python import printed

ROOT = Path(rv.__file__).parents[1]


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = sorted(ROOT.rglob("ranvier/**/*.py"))
WITH_EXAMPLES = [module_name(path) for path in FILES if ">>> " in path.read_text()]
# Public names without their own example: kinds of dtype and error, results that a function's example
# shows, and what is still to be written. The list only gets shorter.
WITHOUT = {
    "ranvier": """BFloat16Tensor BoolTensor ByteTensor CaptureError CharTensor DoubleTensor FloatTensor
        HalfTensor IntTensor LongTensor ProgressBar ShortTensor Size finfo iinfo
        TensorBoard
        TensorBoard any broadcast_to empty empty_cache empty_like equal eye full_like ge get_num_threads
        get_rng_state get_winograd initial_seed isfinite isinf le linspace lt movedim ne numel ones
        ones_like rand rand_like randint randn randn_like randperm ravel set_rng_state show_config t
        zeros_like""",
    "ranvier.autograd": "GradcheckError backward borrowed bump numeric_gradients wrap",
    "ranvier.data": "Sampler SequentialSampler Subset",
    "ranvier.explore": "Diagnosis Finding Fit",
    "ranvier.metrics": "",
    "ranvier.nn": "",
    "ranvier.nn.functional": "",
    "ranvier.nn.utils": "",
    "ranvier.onnx": "",
    "ranvier.ops": "any broadcast_to ge le lt movedim ne ravel t",
    "ranvier.optim": "",
    "ranvier.plot": "require_matplotlib",
    "ranvier.sklearn": "",
    "ranvier.train": "ProgressBar TensorBoard",
}


def _needs_its_package(name):
    for start, package in (
        ("sklearn", "sklearn"),
        ("onnx", "onnx"),
        ("torch.utils.einops", "einops"),
        ("torch.functions.quasirandom", "scipy"),
    ):
        if name.startswith(f"ranvier.{start}"):
            pytest.importorskip(package, reason=f"{package} is not installed")


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name, tmp_path, monkeypatch):
    _needs_its_package(name)
    if name == "ranvier.config" and not set(CONSISTENT_LEVELS).intersection(_core.supported_isas()):
        pytest.skip("set_consistent needs x86-64-v3 of the CPU and the build")
    monkeypatch.chdir(tmp_path)
    if name.startswith("ranvier.torch."):  # some make every function of the process ask for classes
        code = f"import doctest, {name} as module; failed, attempted = doctest.testmod(module)"
        printed("-c", f"{code}; raise SystemExit(failed or not attempted)")
        return
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples failed"


@pytest.mark.parametrize("face", WITHOUT)
def test_public_names_have_examples(face):
    _needs_its_package(face)
    module = importlib.import_module(face)
    public = getattr(module, "__all__", None) or [n for n in dir(module) if not n.startswith("_")]
    missing = set()
    for name in public:
        thing = getattr(module, name)
        has_example = ">>>" in (thing.__doc__ or "")
        if callable(thing) and not inspect.ismodule(thing) and not has_example:
            missing.add(name)
    assert sorted(missing - set(WITHOUT[face].split())) == []
