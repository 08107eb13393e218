"""Wrong calls of kernels: arguments spoiled one by one, arrays that do not fit together, and the text of each
error.

A call is refused before anything runs, with a message of the form `[op] got ...; expected ...`, which
`attempt` (support/wrong_input.py) checks. KERNELS has a right call of each public kernel, INTERNAL of each
other one. The arrays that are named first are right for many: F is float32, D float64, both (2, 3).
"""

import copy

import numpy as np
import pytest
from ranvier import _core, kernels
from support.calls import KERNELS
from support.grouped import grouped  # parametrize, with many cases a test
from support.refused import refused
from support.run_call import call_of, run
from support.wrong_input import WRONG_ATTRIBUTES, attempt, describe, flat, never_right, wrong_arrays

F, D, HALVES, SCALAR = np.ones((2, 3), "f4"), np.ones((2, 3)), np.ones((2, 2), "f2"), np.ones((), "f4")
LINE, FLAT, ONE, TWO, RUNNING = F[0], np.ones(8, "f4"), np.ones(1), np.ones(2), np.ones((2, 3), "f4")
SIGNALS, IMAGES, WEIGHT = np.ones((1, 1, 4), "f4"), np.ones((2, 3, 8, 8), "f4"), np.ones((4, 3, 3, 3), "f4")
X, GRID, CHANNELS, BOXES = IMAGES[0, 0], IMAGES[..., :2], np.ones(3, "f4"), np.ones((2, 4), int)
TURNS, INDEX, PAIR, KEY = np.ones((2, 6)), np.zeros(2, int), np.array([0, 1]), np.array([-5, 3])
SCORES = SCALAR, F, INDEX, SCALAR
STRIDED, SWAPPED, READ_ONLY = np.zeros(4, np.int64)[::2], F.astype(">f4"), np.broadcast_to(F[0], (2, 3))
SHARED = np.lib.stride_tricks.as_strided(np.ones(1, np.float32), (2, 3), (0, 0))

ROWS, MASK, HEADS = np.ones((2, 8), "f4"), np.ones((2, 2), bool), np.ones((2, 3, 1, 4), "f4")
CACHE = np.ones((2, 3, 4, 64), "f4"), np.ones((2, 3, 10, 4), "f4"), np.array([3, 5])
STATES = np.ones((2, 5), "f4"), np.ones((2, 5), "f4")
CELL = np.ones((20, 6), "f4"), np.ones((20, 5), "f4"), np.ones(20, "f4"), np.ones(20, "f4")
STEPS, LENGTHS = np.ones((6, 6), "f4"), np.array([2, 2, 2])
RUN = _core.recurrent("lstm", STEPS, *STATES, *CELL, LENGTHS)
# A right call of each function that is no public kernel.
INTERNAL = {
    "addcmul": (F, F, F, F),
    "attention": (F, F, F, 1.0, False, 0, MASK),
    "attention_backward": (F, F, F, F, MASK.astype("f4"), 1.0, False, 0, False, F, F, F),
    "attention_cached": (HEADS, HEADS, HEADS, *CACHE, 10, 1.0),
    "cache_positions": (np.array([3, 5]), 2, 10),
    "cast": (F, D.dtype, D),
    "clip_gradients": ([LINE], ONE, ONE),
    "conv2d_pool": (IMAGES, WEIGHT, WEIGHT[:, 0, 0, 0], 1, 1, 1, 2, "relu", True),
    "conv2d_pool_backward": (*_core.conv2d_pool(IMAGES, WEIGHT), IMAGES, WEIGHT),
    "copy_like": (F, F),
    "count_equal": (F, F[:, 0], 1, False),
    "dropout": (F, 0.5, KEY, None),
    "expand": (F[:, 0], (2, 3), (1,), 1.0, False),
    "fill": (F, 1.0),
    "flat_dot": (LINE, LINE),
    "flip": (F, (0, 1)),
    "fourier": (ROWS, "rfft", 8, 1.0, 1.0, FLAT),
    "full": ((2, 3), F.dtype, 1.0),
    "full_like": (F, F.dtype, 1.0),
    "gradient_norm": ([LINE], 2.0),
    "jet": (LINE, F, "tanh", ONE.astype("f4")),
    "jet_backward": (F, LINE, F, "tanh", ONE.astype("f4")),
    "lbfgs_loop": (LINE, [LINE], [LINE], ONE, ONE, ONE, True),
    "lerp": (F, F, F, 0.5),
    "move_parameters": ([LINE], [LINE], ONE, True),
    "next_key": (KEY,),
    "optimizer_step": ("nadam", [LINE], [LINE], [ONE], [ONE], [[LINE], [LINE]], np.ones(8)),
    "random_normal": ((3,), "float32", 0.0, 1.0, KEY),
    "random_uniform": ((3,), "float32", 0.0, 1.0, KEY),
    "recurrent": ("lstm", STEPS, *STATES, *CELL, LENGTHS, False, True),
    "recurrent_backward": ("lstm", *RUN[:3], STEPS, RUN[0], *RUN[3:], *CELL[:2], LENGTHS),
    "repeat": (F, (2, 1)),
    "repeat_each": (F, 2, 1),
    "roll": (F, 1, 1),
    "stack": ([F, F], 1),
    "triangle": (F, 0, False),
    "weight_penalty": ([LINE], [LINE], ONE, ONE, ONE),
    "where_equal": (F, F, F),
    "_progression": (0, 1, 3, F.dtype),
    "_triangle_indices": (2, 3, 0, False),
}


def spoiled(right):
    """Values that may not be given for this argument, or are of another kind."""
    if isinstance(right, np.ndarray):
        return wrong_arrays(right)
    if isinstance(right, list) and isinstance(right[0], np.ndarray):
        return [*([wrong] for wrong in wrong_arrays(right[0])), [*right, F, LINE], *WRONG_ATTRIBUTES]
    return WRONG_ATTRIBUTES


@grouped("name", INTERNAL)
def test_spoiled_arguments(name):
    """The call answers, or refuses in the standard form; of public kernels: tests/inputs."""
    function = getattr(_core, name)
    function(*copy.deepcopy(INTERNAL[name]))
    for at, right in enumerate(INTERNAL[name]):
        for wrong in spoiled(right):
            given = [*copy.deepcopy(INTERNAL[name])]
            given[at] = copy.deepcopy(wrong)
            never = isinstance(right, str) and never_right(wrong, right)
            attempt(lambda given=given: function(*given), f"{name}, {at}: {describe(wrong)}", never=never)


# Sizes and dtypes that a result does not show: of what is looked up, reduced, counted or written to.
NOT_SHOWN = {
    *(("batch_norm", 5), ("embedding", 1), ("embedding_bag", 0), ("embedding_bag", 1), ("ctc_loss", 0)),
    *(("ctc_loss", 1), ("gather", 0), ("std", 0), ("sum_exp", 0), ("var", 0), ("scatter_backward", 1)),
    *(("embedding_bag_backward", 2), ("grid_sample", 0), ("move_images", 0)),
    *(("attention", 6), ("conv2d_pool", 0), ("full_like", 0), ("cast", 0)),
    *(("copy_like", 1), ("count_equal", 0)),
}


def unlike(x, alone):
    """Integers for floats, and floats for others; the other width of floats, one more along each axis."""
    yield x.astype("int64" if x.dtype.kind == "f" else "float32")
    if not alone:
        for axis in range(x.ndim):
            yield np.concatenate([x, x.take([0], axis)], axis)
        if x.dtype.kind == "f":
            yield x.astype("float64" if x.dtype == "float32" else "float32")


def described(name, arguments, attributes):
    if name in INTERNAL:
        return [(y.shape, y.dtype) for y in flat(getattr(_core, name)(*arguments))]
    return [(y.shape, y.dtype) for y in flat(run("kernels", name, arguments, attributes))]


@grouped("name", sorted({**KERNELS, **INTERNAL}))
def test_arrays_that_do_not_fit_together(name):
    """They are refused, or the result shows that they fit: it has another shape or dtype."""
    arguments, attributes = (INTERNAL[name], {}) if name in INTERNAL else call_of("kernels", name)
    arrays = {at: x for at, x in enumerate(arguments) if isinstance(x, np.ndarray)}
    usual = described(name, copy.deepcopy(arguments), attributes)
    for at, right in arrays.items():
        for wrong in unlike(right, len(arrays) == 1):
            given = [*copy.deepcopy(arguments)]
            given[at] = wrong
            try:
                found = described(name, given, attributes)
            except (ValueError, TypeError) as refusal:
                text = str(refusal)
                assert "; expected" in text, text
            else:
                assert found != usual or (name, at) in NOT_SHOWN, f"array {at}: {wrong.dtype} {wrong.shape}"


def draw(weights, samples=1, again=True, numbers=np.zeros):
    return _core.draw_rows(np.array(weights), samples, again, numbers)


def pooled(shape=(2, 4, 3, 3), window=2, **settings):
    """The gradients of conv2d_pool for IMAGES."""
    dy = np.ones(shape, "f4")
    call = {"dy": dy, "where": dy.astype("u1"), "x": IMAGES, "w": WEIGHT, "window": window, **settings}
    return _core.conv2d_pool_backward(**call)


def step(rule, parameters=None, **changed):
    """A step of an optimizer, of NAdam by the number of states and settings, on one parameter."""
    call = {"parameters": [LINE] if parameters is None else parameters, "gradients": [LINE], "steps": [ONE]}
    call |= {"numbers": [ONE], "states": [[LINE], [LINE]], "settings": np.ones(8)}
    return _core.optimizer_step(rule, **{**call, **changed})


def penalty(**changed):
    call = {"parameters": [LINE], "gradients": [LINE], "l1": ONE, "l2": ONE, "scale": ONE}
    return _core.weight_penalty(*{**call, **changed}.values())


def lbfgs(*arguments):
    return _core.lbfgs_loop(LINE, *arguments, False)


VALUES = {
    # element by element, copies and new arrays
    "[next_key] got a strided state; expected a contiguous one": lambda: _core.next_key(STRIDED),
    "[add] got a beyond the largest float64; expected a number": lambda: _core.add(10**400, F),
    "[add] got out that overlaps an input in memory;": lambda: _core.add(F[:, :2], F[:, 1:], out=F[:, :2]),
    "[add] got out that is byte-swapped or unaligned; expected a": lambda: _core.add(F, F, out=SWAPPED),
    "[add] got out whose elements share memory; expected an array with": lambda: _core.add(F, F, out=SHARED),
    "[add] got a with 20 dimensions; expected at most 8 dimensions, as all tensors of the library have": (
        lambda: _core.add(F.reshape((1,) * 18 + (2, 3)), F)
    ),
    "[fill] got a read-only y; expected a writable array": lambda: _core.fill(READ_ONLY, 0),
    "[cast] got out that overlaps an input in memory; expected memory of": lambda: _core.cast(F, F.dtype, F),
    "[full] got shape (1, 1, 1, 1, 1, 1, 1, 1, 1); expected at": lambda: _core.full((1,) * 9, F.dtype, 0),
    "[stack] got shapes (2, 3) and (3,); expected equal shapes": lambda: _core.stack([F, LINE]),
    "(1, 1, 1, 1, 1, 1, 2, 3); expected fewer dimensions: tensors of the library have at most 8": lambda: (
        _core.stack([F.reshape((1,) * 6 + (2, 3))])
    ),
    "[stack] got dim 3 for tensors of 3 dimensions; expected -3 to 2": lambda: _core.stack([F], 3),
    "[_progression] got count -1; expected at least 0": lambda: _core._progression(0, 1, -1, F.dtype),
    "[_triangle_indices] got rows -1; expected sizes from": lambda: _core._triangle_indices(-1, 3, 0, False),
    "[roll] got axis 2 for x of shape (2, 3); expected -2 to 1": lambda: _core.roll(F, 1, 2),
    "[flip] got axes (0, -2); expected each dimension once": lambda: _core.flip(F, (0, -2)),
    "[repeat] got times (4611686018427387904,": lambda: _core.repeat(F, (2**62, 2**62)),
    "[repeat] got times (1, 1, 1, 1, 1, 1, 1, 1, 1); expected at most 8": lambda: _core.repeat(F, (1,) * 9),
    # reductions and lines
    "[argmax] got 2 axes; expected one": lambda: kernels.argmax(F, (0, 1)),
    "[argmax] got x without dimensions; expected at least one": lambda: _core.argmax(SCALAR, ()),
    "[sort] got axis 2 for x of shape (2, 3); expected -2 to 1": lambda: kernels.sort(F, 2),
    "[sort] got count 4 for an axis of length 3; expected 0 to 3": lambda: kernels.sort(F, 1, False, 4),
    "[sort] got an axis of length 4294967296;": lambda: _core.sort(np.broadcast_to(F[0, 0], (2**32,)), 0),
    "[cumsum] got axis 2 for x of shape (2, 3); expected -2 to 1": lambda: kernels.cumsum(F, 2),
    "[cumsum] got out that overlaps an input in memory; expected": lambda: kernels.cumsum(F, 0, out=F),
    "[fourier] got n 22; expected 1 or more, without a prime": lambda: _core.fourier(FLAT, "rfft", 22),
    "[fourier] got x of shape (8,); expected at most 7 points": lambda: _core.fourier(FLAT, "rfft", 7),
    "[fourier] got x of shape (4, 2); expected at": lambda: _core.fourier(FLAT.reshape(4, 2), "irfft", 4),
    "[fourier] got window of shape": lambda: _core.fourier(FLAT.reshape(4, 2), "fft", 4, window=FLAT[:2]),
    "[fourier] got x of shape (1, 1, 1, 1,": lambda: _core.fourier(F.reshape((1,) * 6 + (2, 3)), "rfft", 3),
    "[jet] got t of shape (16, 3); expected at most 15": lambda: _core.jet(D[0], np.zeros((16, 3)), "tanh"),
    # products, distances and attention
    "[matmul] got out that overlaps": lambda: kernels.matmul(X, X, None, "relu", IMAGES[0, 1], IMAGES[0, 1]),
    "[matmul] got saved and no activation; expected": lambda: _core.matmul(F, F.T, saved=F[:, :2].copy()),
    "[matmul] got saved of shape (2, 3); expected": lambda: kernels.matmul(F, F.T, None, "relu", None, F),
    "[pairwise_distance] got p nan; expected a number": lambda: _core.pairwise_distance(F, F, p=np.nan),
    "[cdist] got p -1.0; expected a number of at least 0": lambda: kernels.cdist(D, D, -1.0),
    "[cdist] got y of shape (2,); expected (1,)": lambda: kernels.cdist_backward(ONE, TWO, D),
    "[attention] got first -1; expected 0 to 2**40": lambda: _core.attention(F, F, F, 1.0, True, -1),
    "[attention] got weights of": lambda: _core.attention_backward(
        F, F, F, F, np.ones((2, 4), "f4")[:, ::2], 1.0
    ),
    "[cache_positions] got 8 more tokens for a row": lambda: _core.cache_positions(np.array([0, 3]), 8, 10),
    "[multinomial] got draw of shape (1,); expected (2, 1)": lambda: draw(D, numbers=lambda _: np.zeros(1)),
    "[dropout] got p -0.5; expected a probability, 0 to 1": lambda: _core.dropout(F, -0.5, KEY, None),
    "[random_uniform] got low 1.0 and high": lambda: _core.random_uniform((3,), "float32", 1.0, 0.0, KEY),
    # images
    "[conv2d] got weight with 4 output channels": lambda: kernels.conv2d(IMAGES, WEIGHT[:, :1], groups=3),
    "[allow_conv_algorithm] got name 'fft'; expected": lambda: _core.allow_conv_algorithm("fft", True),
    "[conv2d_pool] got a window of 7 x 7 and a": lambda: _core.conv2d_pool(IMAGES, WEIGHT, None, window=7),
    "[conv2d_pool] got a window of 2 x": lambda: _core.conv2d_pool(IMAGES, WEIGHT, None, window=(2, 200)),
    "[conv2d_pool_backward] got a window of 17 x 17; expected at most 256": lambda: pooled(window=17),
    "[conv2d_pool_backward] got a window of 7 x 2 and a convolution's result": lambda: pooled(window=(7, 2)),
    "[max_pool2d] got kernel_size (0, 0); expected whole numbers of": lambda: kernels.max_pool2d(IMAGES, 0),
    "[max_pool2d] got stride (0, 0); expected whole numbers of at": lambda: kernels.max_pool2d(IMAGES, 2, 0),
    "[max_pool2d] got padding (2, 2); expected at most half of": lambda: kernels.max_pool2d(IMAGES, 2, 1, 2),
    "[avg_pool2d] got divisor_override 0;": lambda: kernels.avg_pool2d(IMAGES, 2, divisor_override=0),
    "[adaptive_avg_pool2d] got images of (0, 8);": lambda: kernels.adaptive_avg_pool2d(IMAGES[:, :, :0], 2),
    "[interpolate] got both size and scale_factor; expected one": lambda: kernels.interpolate(SIGNALS, 2, 2),
    "[interpolate] got size (2, 2); expected one number": lambda: kernels.interpolate(SIGNALS, (2, 2)),
    "[interpolate] got an output of 0 along an axis of 4; expected": lambda: kernels.interpolate(SIGNALS, 0),
    "[interpolate] got scale_factor -1; expected numbers": lambda: kernels.interpolate(SIGNALS, None, -1),
    "[interpolate] got mode 'bilinear' for 3": lambda: kernels.interpolate(SIGNALS, 2, mode="bilinear"),
    "[interpolate] got mode 'linear' for 4": lambda: kernels.interpolate(IMAGES, 2, mode="linear"),
    "[interpolate] got align_corners for a": lambda: kernels.interpolate(SIGNALS, 2, align_corners=True),
    "[interpolate] got a size of 0; expected from 1 to": lambda: kernels.interpolate(SIGNALS[..., :0], 2),
    "[pad] got pad with 1 numbers for 2 dimensions; expected a pair for each": lambda: kernels.pad(F, (1,)),
    "[pad] got pad with 4 numbers for 1 dimensions; expected a": lambda: kernels.pad(LINE, (1, 1, 1, 1)),
    "[pad] got pad (1, 1099511627776); expected numbers below 2**31": lambda: kernels.pad(LINE, (1, 2**40)),
    "[pad] got shape (3,), of which pad would leave -1 along dimension": lambda: kernels.pad(LINE, (-3, -1)),
    "[pad] got mode 'reflect' with 2 numbers for 1": lambda: kernels.pad(LINE, (1, 1), "reflect"),
    "[pad] got an axis of 0, padded to 2;": lambda: kernels.pad(SIGNALS[..., :0], (1, 1), "replicate"),
    "[pad] got an axis of 4, padded to 0; expected": lambda: kernels.pad(SIGNALS, (-2, -2), "replicate"),
    "[pad_backward] got shape (1, 1, 4), of which pad would": lambda: kernels.pad_backward(SIGNALS, (2, 3)),
    "[grid_sample] got x of shape (2, 3, 0, 8);": lambda: kernels.grid_sample(IMAGES[:, :, :0], GRID),
    "[move_images] got place with the value": lambda: _core.move_images(IMAGES, 2**40 * BOXES),
    "[move_images] got height -1; expected 0 to 2**31": lambda: _core.move_images(IMAGES, BOXES, -1),
    "[move_images] got x of shape (2,": lambda: _core.move_images(IMAGES[..., :0], BOXES, 3, 3, mode="edge"),
    "[affine_images] got fill 0.5 for images": lambda: _core.affine_images(IMAGES.astype("u1"), TURNS, 0.5),
    "[erase_images] got partner with the value 2;": lambda: _core.erase_images(IMAGES, BOXES, 2 * PAIR),
    # normalisations and losses
    "[batch_norm] got x of shape (1, 3, 1, 1) when": lambda: _core.batch_norm(IMAGES[:1, :, :1, :1]),
    "[batch_norm] got one running statistic; expected": lambda: _core.batch_norm(IMAGES, None, None, LINE),
    "[batch_norm] got a read-only": lambda: _core.batch_norm(IMAGES, None, None, READ_ONLY[0], LINE),
    "[batch_norm] got no running statistics; expected": lambda: _core.batch_norm(IMAGES, training=False),
    "[batch_norm] got momentum None": lambda: _core.batch_norm(F, None, None, *RUNNING, momentum=None),
    "[batch_norm] got eps -1.0; expected a number of at least 0": lambda: _core.batch_norm(IMAGES, eps=-1.0),
    "[batch_norm] got momentum 2; expected a number from 0 to": lambda: _core.batch_norm(IMAGES, momentum=2),
    "[kl_div] got reduction 'batchmean' for x of shape": lambda: _core.kl_div(SCALAR, SCALAR, "batchmean"),
    "[cross_entropy] got class": lambda: _core.cross_entropy_backward(
        *SCORES, F[:, :2].copy(), of_target=True
    ),
    # places
    "[embedding] got index with 8 dimensions;": lambda: _core.embedding(INDEX[0].reshape((1,) * 8), F),
    "[embedding_backward] got padding_idx 4 for 4": lambda: _core.embedding_backward(F, PAIR, 4, 4),
    "[embedding_bag] got indices of one dimension without offsets;": lambda: kernels.embedding_bag(PAIR, F),
    "[embedding_bag] got offsets that do not start": lambda: kernels.embedding_bag(PAIR, F, np.array([1])),
    "[embedding_bag] got offsets that do not": lambda: kernels.embedding_bag(PAIR, F, np.array([0, 2, 1])),
    "[embedding_bag] got offset 4 for 2 indices;": lambda: kernels.embedding_bag(PAIR, F, np.array([0, 4])),
    "[embedding_bag] got no": lambda: kernels.embedding_bag(PAIR, F, PAIR[:0], include_last_offset=True),
    "[embedding_bag] got offsets for indices of two": lambda: kernels.embedding_bag(PAIR[None], F, PAIR[:1]),
    "[embedding_bag] got": lambda: kernels.embedding_bag(PAIR[None], F, None, np.ones((1, 2), "f4"), "max"),
    "[gather] got index with the value": lambda: kernels.gather(F, np.array([[2**63]], np.uint64), 1),
    "[scatter_add] got axis 2 for dy of shape": lambda: kernels.scatter_add(F, np.zeros((2, 3), int), 2, 5),
    # lists of parameters
    "[nadam] got gradients[0] of shape (2,); expected the": lambda: step("nadam", gradients=[LINE[:2]]),
    "[nadam] got gradients with 0 arrays; expected one for each of 1": lambda: step("nadam", gradients=[]),
    "[nadam] got parameters[0] that is read-only; expected a": lambda: step("nadam", [READ_ONLY[0]]),
    "[nadam] got parameters[0] that is byte-swapped or unaligned;": lambda: step("nadam", [SWAPPED[0]]),
    "[nadam] got 0 states; expected 2": lambda: step("nadam", states=[]),
    "[sgd] got states[0][0] that": lambda: step(
        "sgd", [F], gradients=[F], states=[[F.T.copy().T]], numbers=None, settings=np.ones(6)
    ),
    "[clip_gradients] got gradients[0] that is read-only;": lambda: _core.clip_gradients(
        [READ_ONLY], ONE, None
    ),
    "[move_parameters] got values[0] of shape (2,": lambda: _core.move_parameters([LINE], [F], ONE, True),
    "[flat_dot] got a of shape (2,); expected (2,), contiguous": lambda: _core.flat_dot(F.T[0], F.T[0]),
    "[lbfgs_loop] got 1 changes and 0 steps; expected as many": lambda: lbfgs([LINE], [], ONE, ONE, None),
    "[weight_penalty] got gradients with 0 arrays; expected one for each of": lambda: penalty(gradients=[]),
    "[weight_penalty] got gradients[0] that is read-only;": lambda: penalty(gradients=[READ_ONLY[0]]),
    # rates
    "[probe_fma] got repeats 0; expected at least 1": lambda: _core.probe_fma("float32", 0),
    "[probe_bandwidth] got bytes -1; expected at least 1": lambda: _core.probe_bandwidth(-1, 1, "read"),
    "[probe_barrier] got repeats 0; expected at least 1": lambda: _core.probe_barrier(0),
}
TYPES = {
    "[add] got numbers only; expected at least one array": lambda: _core.add(1, 2),
    "[cast] got another dtype; expected floats, int64,": lambda: _core.cast(F, np.dtype("int16"), None),
    "[stack] got a tensor of dtype float32 and a tensor of dtype float64;": lambda: _core.stack([F, D]),
    "[_progression] got dtype dtype('int16');": lambda: _core._progression(0, 1, 3, np.dtype("int16")),
    "[matmul] got a of dtype float32 and": lambda: kernels.matmul(F, F.T, None, "relu", None, D[:, :2]),
    "[matmul] got a of dtype float16 and bias of dtype": lambda: kernels.matmul(HALVES, HALVES, F[0, :2]),
    "[matmul] got floats of 16 bits and": lambda: kernels.matmul(HALVES, HALVES, None, "relu", None, HALVES),
    "[attention] got q of dtype float32 and mask": lambda: _core.attention(F, F, F, 1.0, False, 0, D[:, :2]),
    "[attention] got floats of 16 bits; expected": lambda: _core.attention(HALVES, HALVES, HALVES, 1.0),
    "[multinomial] got draw of dtype float32;": lambda: draw(D, numbers=lambda n: np.zeros(n, "f4")),
    "[nadam] got gradients of dtype float64; expected float32": lambda: step("nadam", gradients=[D[0]]),
    "[radam] got numbers; expected None": lambda: step("radam", settings=FLAT[:7].astype(float)),
    "[move_parameters] got values of dtype": lambda: _core.move_parameters([LINE], [D[0]], ONE, True),
    "[lbfgs_loop] got changes of dtype float64; expected": lambda: lbfgs([D[0]], [LINE], ONE, ONE, None),
    "[weight_penalty] got gradients of dtype float64; expected float32": lambda: penalty(gradients=[D[0]]),
}
INDICES = {
    "[embedding_backward] got index 1 for 1 embeddings;": lambda: _core.embedding_backward(F, PAIR, 1),
    "[embedding_bag] got index 2 for 2 embeddings;": lambda: kernels.embedding_bag(PAIR[None] + 1, F),
    "[gather] got index 0 for an axis of length 0;": lambda: kernels.gather(F[:0], np.zeros((1, 3), int), 0),
}
ERRORS = [
    *((ValueError, *row) for row in VALUES.items()),
    *((TypeError, *row) for row in TYPES.items()),
    *((IndexError, *row) for row in INDICES.items()),
]


@grouped(("error", "text", "call"), ERRORS, ids=[text for _, text, _ in ERRORS])
def test_text(error, text, call):
    refused(error, text, call)


@pytest.mark.parametrize("weights", [[1.0, -1.0], [0.0, 0.0], [1.0, np.inf], [np.nan, 1.0]])
def test_weights_of_drawn_rows(weights):
    text = "[multinomial] got weights that are negative, not finite"
    refused(ValueError, text, draw, [[1.0, 1.0], weights])


def test_parts_of_products():
    """A power of two up to 64, of even parts of at most 384 products, without a batch, bias or activation."""
    x, long, bias = np.ones((8, 8), "f4"), np.ones((8, 770), "f4"), np.ones(8, "f4")
    for arguments, parts in (
        *(((x, x), parts) for parts in (0, -2, 3, 16)),
        *(((long, long.T), 2), ((x[:, :0], x[:0]), 2), ((np.stack([x, x]), x), 2)),
        *(((x, x, bias), 2), ((x, x, None, "relu"), 2)),
    ):
        refused(ValueError, f"[matmul] got {parts} parts of", kernels.matmul, *arguments, parts=parts)


MANY = {"steps": [ONE] * 100, "numbers": [ONE] * 100, "states": [[TWO.astype("f4")] * 100] * 2}


@pytest.mark.parametrize(
    "call",
    [
        lambda p, shapes, _: step("nadam", p, gradients=shapes, **MANY),
        lambda p, shapes, _: _core.move_parameters(p, shapes, ONE, False),
        lambda p, shapes, _: _core.weight_penalty(p, shapes, np.ones(100), np.ones(100), ONE),
        lambda p, _, dtypes: _core.clip_gradients(dtypes, ONE / 2, None),
    ],
)
def test_a_wrong_array_late_in_a_list_is_refused_before_the_first_runs(call):
    """Lists longer than a kernel call takes."""
    p = [np.ones(2, np.float32) for _ in range(100)]
    with pytest.raises((ValueError, TypeError), match=r"got .* of (shape|dtype)"):
        call(p, [*p[:-1], np.ones(3, np.float32)], [*p[:-1], np.ones(2)])
    assert all((a == 1).all() for a in p)
