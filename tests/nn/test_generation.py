"""A cache of keys and values: the results without it, wrong uses, and one program for all positions.

A text that is given in parts, with a cache, must have the results of the whole text at once: to the bit where
sums are made in the same order, else up to rounding.
"""

import contextlib
import copy
import itertools
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.threads import in_threads
from support.tolerance import tolerance

WIDTH, HEADS, MOST = 16, 2, 130
FEW = 8  # up to so many queries attention without a cache adds in another order


@pytest.fixture(autouse=True)
def without_gradients():
    rv.manual_seed(0)
    with rv.no_grad():
        yield


def encoder(layers=2, dtype="float32", heads=HEADS, **settings):
    """A causal encoder in evaluation mode, with random weights and biases."""
    settings = {"batch_first": True, "dtype": np.dtype(dtype), **settings}
    layer = nn.TransformerEncoderLayer(WIDTH, heads, 24, 0.1, **settings)
    model = nn.TransformerEncoder(layer, layers).eval()
    for p in model.parameters():
        p.add_(rv.randn(*p.shape, dtype=p.dtype) * 0.3)  # layers and biases that differ
    return model


def cache_of(batch, most=MOST, layers=2, dtype="float32", heads=HEADS):
    return nn.KeyValueCache(batch, heads, most, WIDTH // heads, layers, np.dtype(dtype))


def in_parts(model, x, cuts, cache, axis=1):
    """The results of a text that is given in parts of these lengths, with a cache."""
    ends = np.cumsum([0, *cuts])
    parts = [
        model(x.narrow(axis, a, b - a), is_causal=True, cache=cache).numpy()
        for a, b in itertools.pairwise(ends)
    ]
    return np.concatenate(parts, axis)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
def test_every_length_has_the_results_without_a_cache(dtype, batch_first, norm_first, isa):
    model = encoder(dtype=dtype, batch_first=batch_first, norm_first=norm_first)
    axis = 1 if batch_first else 0
    x = rv.randn(2, MOST, WIDTH, dtype=np.dtype(dtype)).transpose(0, 1 - axis)
    steps = in_parts(model, x, [1] * MOST, cache_of(2, dtype=dtype), axis)
    for n in range(1, MOST + 1):
        whole = model(x.narrow(axis, 0, n), is_causal=True).numpy()
        so_far = np.take(steps, range(n), axis)
        if n > FEW:
            np.testing.assert_array_equal(so_far, whole)
        limit = tolerance(dtype, 2 * (24 + 4 * WIDTH + n), float(abs(whole).max()))
        np.testing.assert_allclose(so_far, whole, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_bits_do_not_depend_on_how_a_text_is_cut(dtype, isa):
    model, x = encoder(dtype=dtype), rv.randn(3, 65, WIDTH, dtype=np.dtype(dtype))
    whole = model(x, is_causal=True).numpy()
    for cuts in ([65], [64, 1], [1, 64], [3, 0, 5, 57], [16, 17, 32], [7] * 9 + [2]):
        for threads in (1, 2):
            rv.set_num_threads(threads)
            np.testing.assert_array_equal(in_parts(model, x, cuts, cache_of(3, dtype=dtype)), whole)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("heads", [1, 4, 8, 16])
def test_heads_and_blocks_of_keys(dtype, heads):
    """More than one block of 384 keys, and heads of one element: their products are dot products."""
    model, x = encoder(1, dtype, heads), rv.randn(2, 770, WIDTH, dtype=np.dtype(dtype))
    whole = model(x, is_causal=True).numpy()
    steps = in_parts(model, x, [381, *[1] * 6, 383], cache_of(2, 770, 1, dtype, heads))
    if heads < 16:
        np.testing.assert_array_equal(steps, whole)
    limit = tolerance(dtype, 770 + 24 + 4 * WIDTH, float(abs(whole).max()))
    np.testing.assert_allclose(steps, whole, rtol=0, atol=limit)


def test_a_decoder_and_its_memory():
    layer = nn.TransformerDecoderLayer(WIDTH, HEADS, 24, batch_first=True)
    model, x, memory = nn.TransformerDecoder(layer, 2).eval(), rv.randn(2, 20, WIDTH), rv.randn(2, 7, WIDTH)
    whole = model(x, memory, tgt_is_causal=True).numpy()
    cache = cache_of(2)
    parts = [
        model(x[:, i : i + 1], memory, tgt_is_causal=True, cache=cache).numpy()[:, 0]
        for i in range(x.shape[1])
    ]
    # the attention to memory is not causal: of one query it adds in another order than of 20
    limit = tolerance("float32", 2 * (24 + 8 * WIDTH + 27), float(abs(whole).max()))
    np.testing.assert_allclose(np.stack(parts, 1), whole, rtol=0, atol=limit)


def test_one_sequence_without_a_batch():
    layer, x = encoder(1).layers[0], rv.randn(12, WIDTH)
    cache = cache_of(1, layers=1)
    parts = [layer(x[i : i + 1], is_causal=True, cache=cache[0]).numpy() for i in range(12)]
    np.testing.assert_array_equal(np.concatenate(parts), layer(x, is_causal=True).numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_prompts_of_different_lengths_have_the_bits_that_each_has_alone(dtype):
    model, lengths = encoder(dtype=dtype), [3, 9, 20, 0]
    x = rv.randn(4, 30, WIDTH, dtype=np.dtype(dtype))
    prompts = rv.zeros(4, 20, WIDTH, dtype=np.dtype(dtype))
    for i, n in enumerate(lengths):
        prompts[i, :n] = x[i, :n]
    cache = cache_of(4, dtype=dtype)
    first = model(prompts, is_causal=True, cache=cache)
    cache.crop(lengths)
    assert cache.positions(2).tolist() == [[n, n + 1] for n in lengths]
    following = [
        model(rv.stack([x[i, n + t : n + t + 1] for i, n in enumerate(lengths)]), is_causal=True, cache=cache)
        for t in range(5)
    ]
    assert cache.lengths.tolist() == [n + 5 for n in lengths]
    for i, n in enumerate(lengths):
        alone = in_parts(model, x[i : i + 1], [1] * (n + 5), cache_of(1, dtype=dtype))[0]
        np.testing.assert_array_equal(first.numpy()[i, :n], alone[:n])
        np.testing.assert_array_equal(rv.cat(following, 1).numpy()[i], alone[n:])


def test_crop_reset_and_reorder():
    model, x, cache = encoder(), rv.randn(3, 12, WIDTH), cache_of(3)
    whole = model(x, is_causal=True).numpy()
    in_parts(model, x, [12], cache)
    cache.crop(5)
    np.testing.assert_array_equal(in_parts(model, x[:, 5:], [3, 4], cache), whole[:, 5:])
    cache.crop([12, 7, 9])
    cache.reorder([2, 0, 0])
    assert cache.lengths.tolist() == [9, 12, 12]
    cache.crop(9)
    np.testing.assert_array_equal(in_parts(model, x[[2, 0, 0], 9:], [3], cache), whole[[2, 0, 0], 9:])
    cache.reset()
    np.testing.assert_array_equal(in_parts(model, x, [12], cache), whole)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_captured_step_is_one_program_for_all_positions(dtype):
    model, x = encoder(dtype=dtype), rv.randn(2, 40, WIDTH, dtype=np.dtype(dtype))
    fast, cache, eager = rv.compile(model), *(cache_of(2, 40, dtype=dtype) for _ in range(2))
    for start in (0, 17):
        cache.crop(min(start, int(cache.lengths.numpy().min())))
        eager.crop(cache.lengths)
        for i in range(start, 40):
            one = x[:, i : i + 1].clone()
            y = fast(one, is_causal=True, cache=cache)
            np.testing.assert_array_equal(y.numpy(), model(one, is_causal=True, cache=eager).numpy())
    assert len(fast.programs) == 1
    np.testing.assert_array_equal(cache.values.numpy(), eager.values.numpy())
    for _ in range(2):  # the end, within a replay: an error, and nothing has changed
        message = r"got 1 more tokens for a row of length 40; expected at most 40"
        with pytest.raises(ValueError, match=message):
            fast(one, is_causal=True, cache=cache)
        assert cache.lengths.tolist() == [40, 40]
    np.testing.assert_array_equal(cache.keys.numpy(), eager.keys.numpy())
    cache.crop([39, 12])
    eager.crop([39, 12])
    y = fast(one, is_causal=True, cache=cache)
    np.testing.assert_array_equal(y.numpy(), model(one, is_causal=True, cache=eager).numpy())
    assert len(fast.programs) == 1


def test_a_captured_step_that_samples():
    model, head, cache = encoder(), nn.Linear(WIDTH, 5).eval(), cache_of(1)
    table = nn.Embedding(5, WIDTH)

    @rv.compile(strict=True)
    def following(token):
        scores = head(model(table(token), is_causal=True, cache=cache)[:, -1])
        return (scores - (-rv.rand_like(scores).log()).log()).argmax(-1, keepdim=True)

    texts = []
    for run in (following, following.__wrapped__):
        rv.manual_seed(3)
        cache.reset()
        token, text = rv.tensor([[0]]), []
        for _ in range(30):
            token = run(token)
            text.append(token.item())
        texts.append(text)
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 1
    assert len(following.programs) == 1


def test_an_exception_within_a_prompt_leaves_the_cache_as_it_was():
    model, x, cache = encoder(), rv.randn(2, 12, WIDTH), cache_of(2)
    whole = model(x, is_causal=True).numpy()
    in_parts(model, x, [4], cache)

    def stop(module, inputs):
        raise KeyboardInterrupt

    for layer in (model.layers[0].linear1, model.layers[1]):  # after the first attention, before the last
        hook = layer.register_forward_pre_hook(stop)
        with pytest.raises(KeyboardInterrupt):
            in_parts(model, x[:, 4:], [8], cache)
        hook.remove()
        assert cache.lengths.tolist() == [4, 4]
    np.testing.assert_array_equal(in_parts(model, x[:, 4:], [8], cache), whole[:, 4:])


def test_copies_are_apart_and_state_dicts_without_it():
    model, x, cache = encoder(), rv.randn(2, 12, WIDTH), cache_of(2)
    whole = model(x, is_causal=True).numpy()
    in_parts(model, x, [5], cache)
    for twin in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        np.testing.assert_array_equal(in_parts(model, x[:, 5:], [7], twin), whole[:, 5:])
        assert cache.lengths.tolist() == [5, 5]
    model.cache = cache
    assert not [name for name in model.state_dict() if "cache" in name]
    assert sum(p.numel() for p in cache.parameters()) == 0
    model.double()
    assert cache.values.dtype == np.float64
    assert cache.lengths.dtype == np.int64
    in_parts(model, x[:, 5:].double(), [7], cache)


def test_two_models_take_turns_with_one_cache():
    models, x, cache = [encoder(), encoder()], rv.randn(1, 10, WIDTH), cache_of(1, 10)
    fast = [rv.compile(model) for model in models]
    for _ in range(3):
        for model, run in zip(models, fast, strict=True):
            cache.reset()
            np.testing.assert_array_equal(in_parts(run, x, [1] * 10, cache), model(x, is_causal=True).numpy())


def test_threads():
    """Each with its cache: right. All with one: no crash, and no more tokens than there is room for."""
    model, x = encoder(), rv.randn(1, 60, WIDTH)
    whole, wrong, shared = model(x, is_causal=True).numpy(), [], cache_of(1, 60)

    def run(_):
        with rv.no_grad():
            wrong.append((in_parts(model, x, [1] * 60, cache_of(1, 60)) != whole).any())
            with contextlib.suppress(ValueError):
                in_parts(model, x, [1] * 60, shared)

    in_threads(3, run)
    assert wrong == [False] * 3


def test_sizes_of_zero_and_one():
    model = encoder()
    for batch, most, n in ((0, 4, 2), (1, 4, 0), (2, 0, 0), (1, 1, 1)):
        cache = cache_of(batch, most)
        assert model(rv.zeros(batch, n, WIDTH), is_causal=True, cache=cache).shape == (batch, n, WIDTH)
        assert cache.lengths.tolist() == [n] * batch
        assert cache.positions(0).shape == (batch, 0)


def test_values_that_are_not_finite_stay_in_their_sequence():
    model, x = encoder(), rv.randn(2, 12, WIDTH)
    whole, cache = model(x, is_causal=True).numpy(), cache_of(2)
    x[0, 3] = np.nan
    y = in_parts(model, x, [1] * 12, cache)
    assert np.isnan(y[0, 3:]).all()
    np.testing.assert_array_equal(y[0, :3], whole[0, :3])
    np.testing.assert_array_equal(y[1], whole[1])
    cache.reset()  # what is left in the memory is not read
    x[0, 3] = 1.0
    np.testing.assert_array_equal(in_parts(model, x, [5, 7], cache), model(x, is_causal=True).numpy())


WRONG = {
    "max_length": (
        lambda m, x, c: m(x[:, :5], is_causal=True, cache=cache_of(2, 4)),
        ValueError,
        "at most 4",
    ),
    "batch": (lambda m, x, c: m(x, is_causal=True, cache=cache_of(3)), ValueError, "3 sequences"),
    "heads": (lambda m, x, c: m(x, is_causal=True, cache=cache_of(2, heads=4)), ValueError, "4 heads"),
    "width": (
        lambda m, x, c: m(x, is_causal=True, cache=nn.KeyValueCache(2, HEADS, 9, 9, 2)),
        ValueError,
        "width 9",
    ),
    "layers": (lambda m, x, c: m(x, is_causal=True, cache=cache_of(2, layers=3)), ValueError, "of 2 layers"),
    "layer": (lambda m, x, c: m.layers[0](x, is_causal=True, cache=c), TypeError, r"cache\[i\]"),
    "kind": (lambda m, x, c: m(x, is_causal=True, cache={}), ValueError, "expected a KeyValueCache"),
    "dtype": (lambda m, x, c: m(x, is_causal=True, cache=c.double()), TypeError, "dtype float64"),
    "causal": (lambda m, x, c: m(x, cache=c), ValueError, "is_causal=True"),
    "mask": (lambda m, x, c: m(x, rv.zeros(9, 9), is_causal=True, cache=c), ValueError, "no masks"),
    "padding": (
        lambda m, x, c: m(x, None, rv.zeros(2, 9, dtype=bool), is_causal=True, cache=c),
        ValueError,
        "no masks",
    ),
    "weights": (
        lambda m, x, c: m.layers[0].self_attn(x, x, x, is_causal=True, cache=c[0]),
        ValueError,
        "need_weights=False",
    ),
    "key": (
        lambda m, x, c: m.layers[0].self_attn(x, x + 1, x, None, False, is_causal=True, cache=c[0]),
        ValueError,
        "one Tensor",
    ),
    "training": (lambda m, x, c: m.train()(x, is_causal=True, cache=c), RuntimeError, r"model\.eval\(\)"),
    "crop": (lambda m, x, c: c.crop(1), ValueError, "expected whole numbers from 0 to"),
    "crop_below": (lambda m, x, c: c.crop(-1), ValueError, "expected whole numbers from 0 to"),
    "crop_shape": (lambda m, x, c: c.crop([0, 0, 0]), ValueError, "expected whole numbers from 0 to"),
    "reorder": (lambda m, x, c: c.reorder([0]), ValueError, "expected 2 numbers"),
    "index": (lambda m, x, c: c[2], IndexError, "layer 2"),
    "positions": (lambda m, x, c: c.positions(MOST + 1), ValueError, f"at most {MOST}"),
    "negative": (lambda m, x, c: nn.KeyValueCache(-1, 1, 1, 1), ValueError, "batch -1"),
    "no_heads": (lambda m, x, c: nn.KeyValueCache(1, 0, 1, 1), ValueError, "heads 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_refused_and_changes_nothing(name):
    model, x, cache = encoder(), rv.randn(2, 9, WIDTH), cache_of(2)
    call, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        call(model, x, cache)
    assert cache.lengths.tolist() == [0, 0]
    assert not cache.values.numpy().any()


def test_gradients_are_refused():
    model, x, cache = encoder(), rv.randn(2, 9, WIDTH), cache_of(2)
    with rv.enable_grad(), pytest.raises(RuntimeError, match=r"rv\.no_grad\(\)"):
        model(x, is_causal=True, cache=cache)
    layer = nn.MultiheadAttention(WIDTH, HEADS, add_zero_attn=True, batch_first=True).eval()
    with pytest.raises(ValueError, match="no added keys"):
        layer(x, x, x, need_weights=False, is_causal=True, cache=cache[0])


def test_its_text():
    assert repr(cache_of(3)) == "KeyValueCache(3, heads=2, max_length=130, head_dim=8, layers=2)"
