"""nn.utils.rnn: sequences padded and packed, back again, with their gradients."""

import numpy as np
import pytest
import ranvier as rv
from ranvier.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpack_sequence,
    unpad_sequence,
)
from support.refused import refused, text_of

LENGTHS = [[4, 4, 4], [5, 3, 1], [1, 5, 3], [2, 2, 5, 1], [1]]
every_length = pytest.mark.parametrize("lengths", LENGTHS, ids=str)
either_order = pytest.mark.parametrize("batch_first", [False, True])


def sequences(lengths, shape=(2,), dtype="float64"):
    rng = np.random.default_rng(3)
    return [rv.from_numpy((10 * rng.uniform(-1, 1, (n, *shape))).astype(dtype)) for n in lengths]


def assert_equal(a, b):
    np.testing.assert_array_equal(a.detach(), b.detach())


@every_length
@either_order
@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_there_and_back(lengths, batch_first, shape, dtype):
    given = sequences(lengths, shape, dtype)
    padded = pad_sequence(given, batch_first, padding_value=-1)
    steps, batch = max(lengths), len(lengths)
    assert padded.shape == ((batch, steps) if batch_first else (steps, batch)) + shape
    packed = pack_padded_sequence(padded, lengths, batch_first, enforce_sorted=False)
    assert packed.data.shape == (sum(lengths), *shape)
    assert packed.batch_sizes.tolist() == [sum(n > t for n in lengths) for t in range(steps)]
    again, counts = pad_packed_sequence(packed, batch_first, padding_value=-1)
    assert_equal(again, padded)
    assert counts.tolist() == lengths
    for found in (unpad_sequence(padded, lengths, batch_first), unpack_sequence(packed)):
        for a, b in zip(found, given, strict=True):
            assert_equal(a, b)
    assert_equal(pack_sequence(given, enforce_sorted=False).data, packed.data)


@every_length
@either_order
def test_gradients_come_back_to_their_rows(lengths, batch_first):
    given = [s.requires_grad_() for s in sequences(lengths)]
    packed = pack_padded_sequence(pad_sequence(given, batch_first), lengths, batch_first, False)
    padded, _ = pad_packed_sequence(packed, batch_first)
    weights = [rv.from_numpy(np.random.default_rng(n).uniform(size=s.shape)) for n, s in enumerate(given)]
    (padded * pad_sequence(weights, batch_first)).sum().backward()
    for s, w in zip(given, weights, strict=True):
        assert_equal(s.grad, w)


@either_order
def test_padding_on_the_left(batch_first):
    padded = pad_sequence([rv.tensor([1.0, 2.0]), rv.tensor([3.0])], batch_first, 9.0, "left")
    assert (padded if batch_first else padded.T).tolist() == [[1.0, 2.0], [9.0, 3.0]]


def test_total_length():
    packed = pack_sequence([rv.tensor([1.0, 2.0])])
    assert pad_packed_sequence(packed, True, total_length=4)[0].tolist() == [[1, 2, 0, 0]]
    with pytest.raises(ValueError, match="got total_length 1; expected at least 2, the steps of"):
        pad_packed_sequence(packed, total_length=1)


def test_sorted_sequences_keep_their_order():
    packed = pack_padded_sequence(rv.rand(3, 2), [3, 1])
    assert packed.sorted_indices is packed.unsorted_indices is None
    packed = pack_padded_sequence(rv.rand(3, 4), [1, 3, 2, 3], enforce_sorted=False)
    assert packed.sorted_indices.tolist() == [1, 3, 2, 0]
    assert packed.unsorted_indices.tolist() == [3, 0, 2, 1]
    assert packed.double().data.dtype == np.float64
    assert PackedSequence(*packed[:3]).unsorted_indices.tolist() == [3, 0, 2, 1]


@pytest.mark.parametrize("kind", [list, tuple, np.array, rv.tensor])
def test_lengths_of_any_kind(kind):
    assert pack_padded_sequence(rv.rand(3, 2), kind([3, 1])).batch_sizes.tolist() == [2, 1, 1]


def test_lengths_in_a_tensor_are_no_constants_of_a_compiled_step():
    pack = rv.compile(lambda x, lengths: pack_padded_sequence(x, lengths).data, strict=True)
    refused(RuntimeError, "pack_padded_sequence reads a value", pack, rv.rand(3, 2), rv.tensor([3, 1]))


def test_a_compiled_step_that_packs_is_one_program():
    gru = rv.nn.GRU(2, 3)

    def step(x):
        packed = pack_padded_sequence(x, [1, 3, 2], enforce_sorted=False)
        y, last = gru(packed)
        return pad_packed_sequence(y)[0], last

    fast = rv.compile(step, strict=True)
    with rv.no_grad():
        for _ in range(5):
            x = rv.rand(3, 3, 2)
            for a, b in zip(fast(x), step(x), strict=True):
                assert a.tolist() == b.tolist()
    assert len(fast.programs) == 1


@pytest.mark.parametrize(
    ("lengths", "error", "text"),
    [
        ([1, 3], ValueError, "[1, 3]; expected none longer than the one before it, or enforce_sorted=False"),
        ([3, 0], ValueError, "from 0 to 3; expected 1 to 3, the steps"),
        ([4, 1], ValueError, "from 1 to 4; expected 1 to 3, the steps"),
        ([3], ValueError, "of shape (1,); expected (2,), one or more"),
        ([float("nan"), 1], TypeError, "[nan, 1.0]; expected finite numbers"),
        (["3", "1"], TypeError, "<U1; expected finite numbers"),
    ],
)
def test_wrong_lengths(lengths, error, text):
    with pytest.raises(error) as caught:
        pack_padded_sequence(rv.rand(3, 2), lengths)
    assert str(caught.value) == f"[pack_padded_sequence] got lengths {text}"


@pytest.mark.parametrize(
    "lengths",
    [[3.0, 1.0], [3.9, 1.2], rv.tensor([3.0, 1.5]), rv.tensor([3.0, 1.0]).half(), np.array([3.0, 1.0])],
)
def test_lengths_lose_their_fractions(lengths):
    x = rv.rand(3, 2)
    assert pack_padded_sequence(x, lengths).batch_sizes.tolist() == [2, 1, 1]
    assert [len(y) for y in unpad_sequence(x, lengths)] == [3, 1]


PACKED = {"double": "float64", "half": "float16", "long": "int64", "int": "int32", "short": "int16"}


def test_methods_of_packed_sequences():
    packed = pack_sequence([rv.ones(1, 1), rv.ones(2, 1)], enforce_sorted=False)
    assert packed.cpu() is packed.to("cpu") is packed.float() is packed.to(rv.float32) is packed
    for name, dtype in {**PACKED, "char": "int8", "byte": "uint8"}.items():
        other = getattr(packed, name)()
        assert type(other) is type(packed)
        assert other.data.dtype == dtype
        assert other.sorted_indices is packed.sorted_indices
    assert packed.pin_memory().data.tolist() == packed.data.tolist()
    assert (packed.is_cuda, packed.is_pinned()) == (False, False)
    refused(RuntimeError, "cuda", packed.cuda)
    pair = PackedSequence((packed.data, packed.batch_sizes))
    assert pair.batch_sizes is packed.batch_sizes


def test_errors():
    text = "[pack_padded_sequence] got input of shape (3,); expected at least 2 dimensions, steps and batch"
    assert text_of(ValueError, pack_padded_sequence, rv.rand(3), [3]) == text
    text = "[pad_sequence] got sequences of shapes (3, 2), (3, 1); expected (steps, ...) of each"
    assert text_of(ValueError, pad_sequence, [rv.rand(3, 2), rv.rand(3, 1)]) == text
    text = "[pad_sequence] got sequences of shapes (); expected (steps, ...) of each"
    assert text_of(ValueError, pad_sequence, []) == text
    text = "[pad_sequence] got padding_side 'top'; expected 'right' or 'left'"
    assert text_of(ValueError, pad_sequence, [rv.rand(3)], padding_side="top") == text


@pytest.mark.parametrize("sizes", [[0, 2], [-1, 2], [3, 9], [1, 3], [2, 1], [4, 0], []])
def test_batch_sizes_that_do_not_fit_are_refused(sizes):
    packed = PackedSequence(rv.ones(4, 2), rv.tensor(sizes, dtype=rv.int64))
    text = f"got batch_sizes {sizes} for 4 rows of data; expected numbers above 0"
    calls = (pad_packed_sequence, unpack_sequence, rv.nn.LSTM(2, 3), rv.nn.GRU(2, 3), rv.nn.RNN(2, 3))
    for call in calls:
        refused(ValueError, text, call, packed)


def test_a_sequence_that_is_not_packed_is_refused():
    text = "[pad_packed_sequence] got a sequence of type Tensor; expected a PackedSequence"
    refused(TypeError, text, pad_packed_sequence, rv.ones(4, 2))
