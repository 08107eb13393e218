"""Each setting of a program, switched between calls: a compiled step must follow it.

Each function below is a step that reads a setting. The decorator above it says how the setting is switched on
and off; it becomes a scenario (scenario.py), which `test_as_eager` in test_staleness.py runs: off, on, off
and on again between calls, where each compiled call must show the bits of the same call run eagerly.
"""

import contextlib
from collections.abc import Callable
from functools import partial

import ranvier as rv
from compile.staleness.judge import Case, Run, default_inputs, patch
from compile.staleness.scenario import eager, scenario, sets, whole
from compile.staleness.small import Own
from ranvier.tensors import printing
from ranvier.torch.distributed import multiprocessing
from ranvier.torch.fx import jit
from ranvier.torch.operators import torch_ops
from ranvier.torch.utils import pytree

Step = Callable[[rv.Tensor], rv.Tensor]
WEIGHT = rv.full((3, 3), 1.0 / 7)
INPUTS = [default_inputs(number) for number in range(52)]  # made here: on another default device they are not


# --- how a step is run and a setting switched
def compiled(run: Run, _: object, step: Step) -> Case:
    """The step under `rv.compile`."""
    return Case(run.compile(step), inputs=INPUTS.__getitem__)


def in_module(run: Run, _: object, step: Step) -> Case:
    """The step as the forward pass of a module that is replayed without being compiled."""
    return Case(run.alone(Own(step)), inputs=INPUTS.__getitem__)


def switched(on: Callable[[], object], off: Callable[[], object], ways=(compiled, in_module), is_eager=False):
    """Above a step: its setting is switched by these two functions. is_eager: the step may run eagerly."""

    def prepare(value):
        patch.after(off)

    def switch(_, is_on):
        if is_on:
            on()
        else:
            off()

    def decorate(step: Step) -> Step:
        read = eager(step) if is_eager else step
        scenario(prepare, switch, read, values=(False, True, False, True), ways=ways)
        return step

    return decorate


def in_block(make_block, ways=(compiled, in_module), is_eager=False):
    """Above a step: it is called outside and inside a `with` block."""
    opened = contextlib.ExitStack()

    def enter():
        opened.enter_context(make_block())

    return switched(enter, opened.close, ways, is_eager)


# --- numbers
@switched(partial(rv.set_default_dtype, rv.float64), partial(rv.set_default_dtype, rv.float32))
def default_dtype(x):
    return x + rv.tensor([1.5])


@switched(
    partial(rv.set_float32_matmul_precision, "high"), partial(rv.set_float32_matmul_precision, "highest")
)
def matmul_precision(x):
    return x * len(rv.get_float32_matmul_precision())


@switched(partial(rv.set_num_threads, 2), partial(rv.set_num_threads, 1))
def number_of_threads(x):
    return x * rv.get_num_threads()


@switched(partial(rv.set_winograd, False), partial(rv.set_winograd, True))
def winograd(x):
    factor = 2 if rv.get_winograd() else 3
    return x * factor


@switched(partial(rv.use_deterministic_algorithms, True), partial(rv.use_deterministic_algorithms, False))
def deterministic_algorithms(x):
    factor = 2 if rv.are_deterministic_algorithms_enabled() else 3
    return x * factor


# --- gradients
@in_block(rv.no_grad, ways=(compiled,))
def grad_is_enabled(x):
    factor = 2 if rv.is_grad_enabled() else 3
    return x * factor


@in_block(rv.inference_mode)
def inference_mode_is_enabled(x):
    factor = 2 if rv.is_inference_mode_enabled() else 3
    return x * factor


@in_block(rv.inference_mode, is_eager=True)
def input_is_of_inference_mode(x):
    factor = 2 if x.is_inference() else 3
    return x * factor


@in_block(rv.inference_mode)
def inference_mode_is_not_read(x):
    return x * 2


@rv.inference_mode()
def without_history(x):
    return x * 2


def calls_without_history(_, x):
    return without_history(x)


scenario(lambda value: None, None, calls_without_history, ways=(whole,))


# --- autocast
autocast = partial(rv.autocast, "cpu")


@in_block(autocast)
def product_in_autocast(x):
    return rv.mm(x, WEIGHT)


@in_block(partial(autocast, cache_enabled=False))
def autocast_cache_of_block(x):
    factor = 2 if rv.amp.is_autocast_cache_enabled() else 3
    return x * factor


@switched(partial(rv.amp.set_autocast_cache_enabled, False), partial(rv.amp.set_autocast_cache_enabled, True))
def autocast_cache(x):
    factor = 2 if rv.amp.is_autocast_cache_enabled() else 3
    return x * factor


@switched(
    partial(rv.amp.set_autocast_dtype, "cpu", rv.float16),
    partial(rv.amp.set_autocast_dtype, "cpu", rv.bfloat16),
)
def product_in_autocast_of_default_dtype(x):
    with rv.autocast("cpu"):
        return rv.mm(x, WEIGHT)


def autocast_of_device(device: str, default: rv.dtype) -> None:
    """Steps that read the settings of autocast for this type of device, whose dtype is `default` at first."""

    @switched(
        partial(rv.amp.set_autocast_enabled, device, True),
        partial(rv.amp.set_autocast_enabled, device, False),
    )
    def autocast_is_enabled(x, device=device):
        factor = 2 if rv.amp.is_autocast_enabled(device) else 3
        return x * factor

    @switched(
        partial(rv.amp.set_autocast_dtype, device, rv.float64),
        partial(rv.amp.set_autocast_dtype, device, default),
    )
    def autocast_dtype(x, device=device):
        return x.to(rv.amp.get_autocast_dtype(device))


autocast_of_device("cpu", rv.bfloat16)
autocast_of_device("cuda", rv.float16)
autocast_of_device("hpu", rv.bfloat16)
autocast_of_device("xpu", rv.float16)


def after_a_cast(run: Run, weight: rv.Tensor, product: Callable[..., rv.Tensor]) -> Case:
    """The step within a block of autocast that has cast the weight before."""
    step = run.compile(lambda x: product(weight, x).detach())

    def call(x):
        with rv.autocast("cpu"):
            product(weight, x)
            return step(x)

    return Case(call, lambda: weight)


def make_weight(_: float) -> rv.Tensor:
    return rv.full((3, 3), 1.0 / 7).requires_grad_()


def scale_weight(weight: rv.Tensor, factor: float) -> None:
    weight.data.mul_(factor)


def product_with_weight(weight, x):
    return rv.mm(x, weight)


scenario(make_weight, scale_weight, product_with_weight, ways=(after_a_cast,))


# --- printing, devices and files
@switched(partial(rv.set_printoptions, precision=2), partial(rv.set_printoptions, profile="default"))
def print_options(x):
    return x * printing.options.precision


@switched(partial(rv.set_default_device, "meta"), partial(rv.set_default_device, None))
def default_device(x):
    return x * len(str(rv.get_default_device()))


@in_block(partial(rv.device, "meta"))
def device_of_block(x):
    return x * len(rv.get_default_device())


@switched(partial(rv.hub.set_dir, "/a"), partial(rv.hub.set_dir, ""))
def hub_folder(x):
    return x * len(rv.hub.get_dir())


@switched(
    partial(multiprocessing.set_sharing_strategy, "file_system"),
    partial(multiprocessing.set_sharing_strategy, "file_descriptor"),
)
def sharing_strategy(x):
    return x * len(multiprocessing.get_sharing_strategy())


# --- what programs of PyTorch set
@in_block(torch_ops.exclude)
def excluded_dispatch_keys(x):
    return x * (1 + torch_ops._state.below)


set_scripting = sets("scripting")


@switched(partial(set_scripting, jit._set, True), partial(set_scripting, jit._set, False))
def scripting(x):
    factor = 2 if rv.jit.is_scripting() else 3
    return x * factor


class Pair:
    """A class that is a node of pytrees once it is registered."""


def register_pair():
    pytree.register_pytree_node(Pair, lambda pair: ([1, 2], None), None)


def forget_pair():
    if Pair in pytree._NODES:
        pytree._deregister_pytree_node(Pair)


@switched(register_pair, forget_pair, is_eager=True)
def registered_node(x):
    return x * len(pytree.tree_leaves(Pair()))
