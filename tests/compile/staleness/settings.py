"""Each setting that a program can make, on and off between two calls: a replay follows it.

`switched(on, off, *reads)` makes a scenario (scenario.py) of each function that reads the setting: it is
switched on, off and on again between calls, and each compiled call must show the bits of the same call run
eagerly. A step may also run eagerly, with a warning, only where `eager(...)` marks it.
"""

import contextlib

import ranvier as rv
from compile.staleness.judge import Case, default_inputs, patch
from compile.staleness.scenario import eager, scenario, sets, whole
from compile.staleness.small import Own
from ranvier.tensors import printing
from ranvier.torch.distributed import multiprocessing as mp
from ranvier.torch.fx import jit
from ranvier.torch.operators import torch_ops
from ranvier.torch.utils import pytree

W = rv.full((3, 3), 1.0 / 7)
INPUTS = [default_inputs(number) for number in range(52)]  # another default device makes none


def plain(run, o, read):
    return Case(run.compile(read), inputs=INPUTS.__getitem__)


def in_module(run, o, read):
    return Case(run.alone(Own(read)), inputs=INPUTS.__getitem__)


def switched(on, off, *reads, ways=(plain, in_module)):
    """on: a function that sets it; off: one that sets it back."""
    change = lambda o, v: (on if v else off)()  # noqa: E731
    scenario(lambda v: patch.after(off), change, *reads, values=(False, True, False, True), ways=ways)


def block(make, *reads, ways=(plain, in_module)):
    """make: makes a block, in which calls are made."""
    opened = contextlib.ExitStack()
    switched(lambda: opened.enter_context(make()), opened.close, *reads, ways=ways)


# --- numbers and modes
switched(lambda: rv.set_default_dtype(rv.float64), lambda: rv.set_default_dtype(rv.float32),
    lambda x: x + rv.tensor([1.5]))  # fmt: skip
switched(lambda: rv.set_float32_matmul_precision("high"), lambda: rv.set_float32_matmul_precision("highest"),
    lambda x: x * len(rv.get_float32_matmul_precision()))  # fmt: skip
switched(lambda: rv.set_num_threads(2), lambda: rv.set_num_threads(1), lambda x: x * rv.get_num_threads())
switched(lambda: rv.set_winograd(False), lambda: rv.set_winograd(True),
    lambda x: x * (2 if rv.get_winograd() else 3))  # fmt: skip
switched(lambda: rv.use_deterministic_algorithms(True), lambda: rv.use_deterministic_algorithms(False),
    lambda x: x * (2 if rv.are_deterministic_algorithms_enabled() else 3))  # fmt: skip
block(rv.no_grad, lambda x: x * (2 if rv.is_grad_enabled() else 3), ways=(plain,))
block(rv.inference_mode, lambda x: x * (2 if rv.is_inference_mode_enabled() else 3),
    eager(lambda x: x * (2 if x.is_inference() else 3)), lambda x: x * 2)  # fmt: skip


@rv.inference_mode()
def without_history(x):
    return x * 2


scenario(lambda v: None, None, lambda o, x: without_history(x), ways=(whole,))


# --- autocast
def in_block(x):
    with rv.autocast("cpu"):
        return rv.mm(x, W)


def after_another(run, weight, multiplied):
    """In a block that has cast the weight before."""
    step = run.compile(lambda x: multiplied(weight, x).detach())

    def call(x):
        with rv.autocast("cpu"):
            multiplied(weight, x)
            return step(x)

    return Case(call, lambda: weight)


scenario(lambda v: rv.full((3, 3), 1.0 / 7).requires_grad_(), lambda w, v: w.data.mul_(v),
    lambda w, x: rv.mm(x, w), ways=(after_another,))  # fmt: skip
block(lambda: rv.autocast("cpu"), lambda x: rv.mm(x, W))
block(lambda: rv.autocast("cpu", cache_enabled=False),
    lambda x: x * (2 if rv.amp.is_autocast_cache_enabled() else 3))  # fmt: skip
switched(lambda: rv.amp.set_autocast_cache_enabled(False), lambda: rv.amp.set_autocast_cache_enabled(True),
    lambda x: x * (2 if rv.amp.is_autocast_cache_enabled() else 3))  # fmt: skip
switched(lambda: rv.amp.set_autocast_dtype("cpu", rv.float16),
    lambda: rv.amp.set_autocast_dtype("cpu", rv.bfloat16), in_block)  # fmt: skip
for kind, dtype in (("cpu", "bfloat16"), ("cuda", "float16"), ("hpu", "bfloat16"), ("xpu", "float16")):
    switched(lambda kind=kind: rv.amp.set_autocast_enabled(kind, True),
        lambda kind=kind: rv.amp.set_autocast_enabled(kind, False),
        lambda x, kind=kind: x * (2 if rv.amp.is_autocast_enabled(kind) else 3))  # fmt: skip
    switched(lambda kind=kind: rv.amp.set_autocast_dtype(kind, rv.float64),
        lambda kind=kind, dtype=dtype: rv.amp.set_autocast_dtype(kind, getattr(rv, dtype)),
        lambda x, kind=kind: x.to(rv.amp.get_autocast_dtype(kind)))  # fmt: skip

# --- what is shown, where Tensors and files are
switched(lambda: rv.set_printoptions(precision=2), lambda: rv.set_printoptions(profile="default"),
    lambda x: x * printing.options.precision)  # fmt: skip
switched(lambda: rv.set_default_device("meta"), lambda: rv.set_default_device(None),
    lambda x: x * len(str(rv.get_default_device())))  # fmt: skip
block(lambda: rv.device("meta"), lambda x: x * len(rv.get_default_device()))
switched(lambda: rv.hub.set_dir("/a"), lambda: rv.hub.set_dir(""), lambda x: x * len(rv.hub.get_dir()))
switched(lambda: mp.set_sharing_strategy("file_system"), lambda: mp.set_sharing_strategy("file_descriptor"),
    lambda x: x * len(mp.get_sharing_strategy()))  # fmt: skip


# --- what programs of PyTorch set
class Pair:
    pass


def forget_pair():
    if Pair in pytree._NODES:
        pytree._deregister_pytree_node(Pair)


block(torch_ops.exclude, lambda x: x * (1 + torch_ops._state.below))
switched(lambda: sets("scripting")(jit._set, True), lambda: sets("scripting")(jit._set, False),
    lambda x: x * (2 if rv.jit.is_scripting() else 3))  # fmt: skip
switched(lambda: pytree.register_pytree_node(Pair, lambda pair: ([1, 2], None), None), forget_pair,
    eager(lambda x: x * len(pytree.tree_leaves(Pair()))))  # fmt: skip
