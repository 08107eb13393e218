"""Programs on the same weights share what they have prepared from them, such as packed weights.

A compiled model is called with batches of several sizes, and with caches of several texts: each is a program
of its own. After each change of the weights, in any way, all of them have to show the bits of the model. A
panel of the old weights would show old bits: the changes are large.
"""

import gc
import threading

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits
from ranvier import nn, optim
from support.strict import strict

ROWS = 9, 10, 12  # batches that have programs of their own, which read panels of the same width
PREPARED = 4 * (64 * 96 + 96 * 32)  # bytes of the weights, packed


def network():
    rv.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 32)).eval()


def batches():
    rng = np.random.default_rng(1)
    return [rv.tensor(rng.standard_normal((rows, 64), "float32")) for rows in ROWS]


def agree(fast, model, inputs):
    for x in inputs:
        assert bits(fast(x)) == bits(model(x))


def captured(model, inputs, calls=3, **settings):
    """A compiled model that has a program for each of the inputs."""
    fast = strict(model, **settings)
    with rv.no_grad():
        for _ in range(calls):
            agree(fast, model, inputs)
    assert len(fast.programs) == len(inputs)
    return fast


def shares(fast):
    """Bytes of all prepared results, each block once."""
    return sum(program.core.prepared_share() for program in fast.programs)


def test_batches_of_other_sizes_pack_nothing():
    model = network()
    fast = captured(model, batches())
    alone = [program.memory.prepared for program in fast.programs]
    assert min(alone) >= PREPARED
    assert shares(fast) <= max(alone) + 64 * len(ROWS)  # the parts are rounded down


def test_a_new_text_packs_nothing():
    model, caches = language_model(), [cache() for _ in range(3)]
    fast = rv.compile(model)
    token = rv.tensor([[3]])
    with rv.no_grad():
        for each in caches:
            for _ in range(10):
                fast(token, each)
    assert len(fast.programs) == len(caches)
    assert shares(fast) <= fast.programs[0].memory.prepared


# --- changes of the weights
def in_place(model):
    with rv.no_grad():
        model[0].weight.mul_(-1.5)


def of_a_view(model):
    with rv.no_grad():
        model[3].weight.detach()[3:5].add_(1)


def of_statistics(model):
    model[1].running_var.add_(1)


def by_an_optimizer(model):
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    for p in model.parameters():
        p.grad = rv.ones_like(p)
    optimizer.step()


def by_a_load(model):
    model.load_state_dict({name: value + 1 for name, value in model.state_dict().items()})


def by_data(model):
    model[0].weight.data = model[0].weight.data * 2


def in_data(model):
    model[0].weight.data.mul_(2)


def by_numpy(model):
    model[3].weight.detach().numpy()[...] *= 2


def by_another_parameter(model):
    model[3].weight = nn.Parameter(model[3].weight.detach() + 1)


def by_initialization(model):
    nn.init.normal_(model[0].weight)


CHANGES = [
    in_place,
    of_a_view,
    of_statistics,
    by_an_optimizer,
    by_a_load,
    by_data,
    in_data,
    by_numpy,
    by_another_parameter,
    by_initialization,
]


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change(change):
    """Each program is the first to be called after one of the changes, and the others follow."""
    model, inputs = network(), batches()
    fast = captured(model, inputs)
    with rv.no_grad():
        for first in (0, 1, 2, 1, 0):
            change(model)
            agree(fast, model, inputs[first:] + inputs[:first])
            agree(fast, model, inputs)


@pytest.mark.parametrize("change", CHANGES)
def test_after_changes_that_only_some_programs_have_seen(change):
    """A program that has not run since several changes must not get, or give, a panel of an earlier one."""
    model, inputs = network(), batches()
    fast = captured(model, inputs)
    with rv.no_grad():
        for order in ([0], [1], [0, 2], [1], [2, 0], [1, 2]):
            change(model)
            agree(fast, model, [inputs[number] for number in order])
        agree(fast, model, inputs)


def test_values_that_come_back():
    """The count of changes is another one, although the weights are those of before."""
    model, inputs = network(), batches()
    fast = captured(model, inputs)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with rv.no_grad():
        for _ in range(3):
            in_place(model)
            agree(fast, model, inputs[:2])
            model.load_state_dict(before)
            agree(fast, model, inputs[1:])


def test_compiled_training_between_predictions():
    model, inputs = network(), batches()
    fast = captured(model, inputs)
    optimizer = optim.Adam(model.parameters(), lr=0.1)

    @rv.compile
    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    for number in range(12):
        model.train()
        step(inputs[0])
        model.eval()
        with rv.no_grad():
            agree(fast, model, inputs[number % 3 :])


def test_only_what_has_changed_is_packed_again():
    """Tested with a change that the library cannot notice, and that users must not make."""
    model, inputs = network(), batches()
    fast = captured(model, inputs, calls=5)  # no check is due
    x = inputs[0]
    with rv.no_grad():
        model[3].weight.add_(1)
        expected = bits(model(x))
        model[0].weight._array[...] = 0  # it is packed, and has not changed as far as one knows
        assert bits(fast(x)) == expected


def test_a_check_uses_what_a_replay_uses():
    """So a panel of other weights is found by the next check."""
    model, inputs = network(), batches()
    fast = rv.compile(model, verify=1)
    with rv.no_grad():
        for _ in range(3):
            agree(fast, model, inputs)
        model[0].weight._array[...] = 0  # which the library cannot notice
        with pytest.warns(UserWarning, match="differs"):
            agree(fast, model, inputs[:1])


# --- lives of programs and weights
def test_programs_that_are_dropped():
    model, inputs = network(), batches()
    others = [rv.tensor(np.ones((rows, 64), "float32")) for rows in range(13, 17)]
    first, second = captured(model, inputs), captured(model, others)
    with rv.no_grad():
        del first
        gc.collect()
        agree(second, model, others)
        in_place(model)
        agree(second, model, others)
        third = captured(model, inputs)
        del second
        gc.collect()
        agree(third, model, inputs)
        in_place(model)
        agree(third, model, inputs)


def test_blocks_are_freed_with_the_last_program():
    model, inputs = nn.Linear(600, 700).eval(), [rv.rand(rows, 600) for rows in ROWS]
    with rv.no_grad():
        before = rv.memory_stats()["bytes_in_use"]
        fast = captured(model, inputs)
        size = model.weight.nbytes
        assert size <= rv.memory_stats()["bytes_in_use"] - before < 1.5 * size
        del fast
        gc.collect()
        assert rv.memory_stats()["bytes_in_use"] - before < 0.5 * size


def test_a_new_model_in_the_memory_of_an_old_one():
    """Addresses and counts of changes may be those of before."""
    inputs = batches()
    with rv.no_grad():
        for number in range(8):
            model = network()
            model[0].weight.add_(number)
            fast = captured(model, inputs)
            in_place(model)
            agree(fast, model, inputs)
            del model, fast
            gc.collect()


def test_two_modules_with_one_weight():
    first, second = nn.Linear(64, 96).eval(), nn.Linear(64, 96).eval()
    second.weight = first.weight
    x, y = batches()[:2]
    fast = [captured(module, [x, y]) for module in (first, second)]
    with rv.no_grad():
        for _ in range(3):
            second.weight.mul_(-2)
            agree(fast[0], first, [x])
            agree(fast[1], second, [x, y])
            agree(fast[0], first, [y])


# --- texts with a cache each
class LanguageModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(50, 32)
        layer = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2)
        self.scores = nn.Linear(32, 50)

    def forward(self, token, cache):
        return self.scores(self.blocks(self.words(token), is_causal=True, cache=cache))


def language_model():
    rv.manual_seed(0)
    return LanguageModel().eval()


def cache():
    return nn.KeyValueCache(batch=1, heads=2, max_length=64, head_dim=16, layers=2)


def test_weights_that_change_between_and_during_texts():
    model, twin = language_model(), language_model()
    fast = rv.compile(model)
    rng = np.random.default_rng(2)
    with rv.no_grad():
        for text in range(8):
            caches = cache(), cache()
            for position in range(20):
                if (position, text % 2) in ((0, 1), (10, 0)) and text > 1:
                    for each in (model, twin):
                        each.blocks.layers[1].linear1.weight.mul_(-1.25)
                        each.scores.weight.add_(0.5)
                token = rv.tensor(rng.integers(0, 50, (1, 1)))
                assert bits(fast(token, caches[0])) == bits(twin(token, caches[1]))


def test_texts_side_by_side():
    """Caches of several texts take turns, and the weights change in between."""
    model, twin = language_model(), language_model()
    fast = rv.compile(model)
    pairs = [(cache(), cache()) for _ in range(4)]
    rng = np.random.default_rng(3)
    with rv.no_grad():
        for number in range(60):
            token = rv.tensor(rng.integers(0, 50, (1, 1)))
            if number % 7 == 6:
                for each in (model, twin):
                    each.blocks.layers[0].self_attn.in_proj_weight.mul_(-1.5)
            ours, theirs = pairs[number * 3 % 4 if number < 40 else number % 3]
            assert bits(fast(token, ours)) == bits(twin(token, theirs))


# --- threads
def test_threads_with_a_program_each():
    """All threads call, then one changes the weights while the others wait, and so on."""
    model, inputs = network(), batches()
    fast = captured(model, inputs)
    rounds = 30
    barrier = threading.Barrier(len(inputs) + 1, timeout=60)
    found = [[] for _ in inputs]

    def predict(number):
        rv.set_num_threads(1)
        with rv.no_grad():
            for _ in range(rounds):
                barrier.wait()
                found[number] += [bits(fast(inputs[number])) for _ in range(2)]
                barrier.wait()

    threads = [threading.Thread(target=predict, args=[number]) for number in range(len(inputs))]
    for thread in threads:
        thread.start()
    expected = [[] for _ in inputs]
    with rv.no_grad():
        for _ in range(rounds):
            in_place(model)
            for each, x in zip(expected, inputs, strict=True):
                each += [bits(model(x))] * 2
            barrier.wait()
            barrier.wait()
    for thread in threads:
        thread.join()
    assert found == expected


def test_weights_that_change_while_threads_predict():
    """A call beside a change shows what it shows; the first call after the last change is right."""
    model, inputs = network(), batches()
    fast = captured(model, inputs, verify=False)  # a check would notice changes beside it
    end = threading.Event()

    def predict(x):
        rv.set_num_threads(1)
        with rv.no_grad():
            while not end.is_set():
                fast(x)

    threads = [threading.Thread(target=predict, args=[x]) for x in inputs]
    for thread in threads:
        thread.start()
    with rv.no_grad():
        for number in range(100):
            model[0].weight.fill_(number)
            model[3].weight.mul_(-1)
    end.set()
    for thread in threads:
        thread.join()
    with rv.no_grad():
        agree(fast, model, inputs)
