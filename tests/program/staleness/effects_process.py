"""Steps that read the state of the process, files or values, or keep a state in a module."""

import gc
import json
import math
import os
import sys
import tempfile
import threading
import types
from pathlib import Path

import ranvier as rv
from program.staleness.judge import Case, scenario
from program.staleness.small import Counts, Small, reading, trains
from ranvier import nn


@scenario("either")
def file_exists():
    path = Path(tempfile.mkdtemp()) / "flag"
    return reading(lambda: 2.0 if path.exists() else 1.0, lambda n: path.touch() if n % 2 else path.unlink())


@scenario("either")
def file_read():
    path = Path(tempfile.mkdtemp()) / "value"
    path.write_text("1.5")
    return reading(lambda: float(path.read_text()), lambda n: path.write_text(str(1.5 + n)))


@scenario("either")
def json_file_read():
    small, path = Small(), Path(tempfile.mkdtemp()) / "value.json"
    path.write_text("[1.5]")

    def step(x):
        with open(path) as file:
            return small.train(x, json.load(file)[0])

    return Case(step, lambda n: path.write_text(f"[{1.5 + n}]"), small.watch)


@scenario()
def json_text_read():
    state = types.SimpleNamespace(text="[1.5]")
    return reading(lambda: json.loads(state.text)[0], lambda n: setattr(state, "text", f"[{1.5 + n}]"))


@scenario("either")
def working_directory(patch):
    here = os.getcwd()
    folders = [here, "/", tempfile.gettempdir(), "/"]
    patch.after(lambda: os.chdir(here))
    return reading(lambda: float(len(os.getcwd())), lambda n: os.chdir(folders[n]))


@scenario("either")
def program_arguments(patch):
    patch(sys, "argv", ["a"])
    return reading(lambda: float(len(sys.argv)), lambda n: sys.argv.append("b"))


@scenario("either")
def recursion_limit(patch):
    before = sys.getrecursionlimit()
    patch.after(lambda: sys.setrecursionlimit(before))
    return reading(
        lambda: sys.getrecursionlimit() / before, lambda n: sys.setrecursionlimit(before + 1000 * n)
    )


@scenario("either")
def reference_count():
    held, more = types.SimpleNamespace(), []
    return reading(lambda: float(sys.getrefcount(held) > 40) + 1.0, lambda n: more.extend([held] * 50))


@scenario("either")
def thread_name(patch):
    thread = threading.current_thread()
    patch.after(lambda before=thread.name: setattr(thread, "name", before))
    return reading(
        lambda: float(len(threading.current_thread().name)), lambda n: setattr(thread, "name", "x" * (30 + n))
    )


@scenario("either")
def garbage_collector_flag(patch):
    patch.after(gc.enable)
    return reading(lambda: 2.0 if gc.isenabled() else 1.0, lambda n: gc.disable() if n % 2 else gc.enable())


@scenario("either")
def exception_in_some_calls():
    small, state = Small(), types.SimpleNamespace(broken=False)

    def step(x):
        if state.broken:
            raise ValueError("broken")
        return small.train(x, 1.5)

    return Case(step, lambda n: setattr(state, "broken", n % 2 == 1), small.watch, raises=True)


@scenario("either")
def assertion_in_some_calls():
    small, state = Small(), types.SimpleNamespace(limit=5)

    def step(x):
        if state.limit <= 3:
            raise RuntimeError("too small")
        return small.train(x, 1.5)

    return Case(step, lambda n: setattr(state, "limit", 5 - 2 * n), small.watch, raises=True)


@scenario("either")
def value_decides():
    return trains(lambda x: (x, 2.0 if x.sum() > 0 else 3.0))


@scenario("either")
def loss_value_decides():
    small = Small()

    def step(x):
        loss, y = small.train(x, 1.0)
        if loss.item() > 1:
            y = y * 2
        return y

    return Case(step, None, small.watch)


@scenario("either")
def text_of_a_value_decides():
    return trains(lambda x: (x, float(len(str(x)))))


@scenario("either")
def text_of_a_parameter_decides():
    small = Small()
    return Case(
        lambda x: small.train(x, 2.0 if "-" in repr(small.w) else 3.0),
        lambda n: small.w.data.copy_(rv.full((3,), float((-1) ** n))),
        small.watch,
    )


@scenario("either")
def format_of_a_mean_decides():
    return trains(lambda x: (x, float(f"{x.mean()}".strip("tensor()") or 0)))


@scenario("either")
def memory_statistics():
    return reading(lambda: 2.0 if rv.memory_stats() else 1.0)


@scenario()
def moving_average_in_a_tensor():
    small, average = Small(), rv.zeros(3)

    def step(x):
        with rv.no_grad():
            average.mul_(0.9).add_(x.mean(0) * 0.1)
        return small.train(x - average, 1.5)

    return Case(step, lambda n: average.zero_(), [*small.watch, average])


@scenario("either")
def moving_average_in_an_attribute():
    small, state = Small(), types.SimpleNamespace(average=rv.zeros(3))

    def step(x):
        state.average = state.average * 0.9 + x.mean(0).detach() * 0.1
        return small.train(x - state.average, 1.5)

    return Case(step, None, [*small.watch, state])


@scenario("either")
def hidden_state_kept():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.hidden = None

        def forward(self, x):
            y = self.layer(x)
            if self.hidden is not None:
                y = y + self.hidden
            self.hidden = y.detach()
            return y

    net = Net()
    return Case(lambda x: net(x).sum(), None, net)


@scenario("either")
def module_that_counts():
    net = Counts(5)
    return Case(lambda x: net(x).sum(), None, net)


@scenario("either")
def module_that_only_counts():
    net = Counts(100)
    return Case(lambda x: net(x).sum(), None, lambda: [net, net.calls])


@scenario("either")
def layer_made_at_the_first_call():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = None

        def forward(self, x):
            if self.layer is None:
                rv.manual_seed(3)
                self.layer = nn.Linear(3, 3)
            return self.layer(x)

    net = Net()
    return Case(lambda x: net(x).sum(), None, net)


@scenario()
def lists_made_in_the_step():
    small = Small()

    def step(x):
        parts = []
        for k in range(3):
            parts.append(x * float(k))
        total = {}
        for k, part in enumerate(parts):
            total[k] = part
        return small.train(sum(total.values()), math.sqrt(2.0))

    return Case(step, None, small.watch)


@scenario()
def random_numbers_of_the_library():
    return trains(lambda x: (x + rv.randn(4, 3) * 0.1, 1.5), lambda n: rv.manual_seed(n))


@scenario("either")
def random_integers_of_the_library():
    return trains(lambda x: (x[rv.randperm(4)], 1.5))


@scenario("either")
def seeded_inside_the_step():
    small = Small()

    def step(x):
        rv.manual_seed(3)
        return small.train(x + rv.randn(4, 3) * 0.1, 1.5)

    return Case(step, None, small.watch)
