"""The texts of errors: of settings, ranks and places, and of calls that the Python layer never makes.

Arrays that do not fit together are in test_unfit_arrays.py.
"""

import numpy as np
import pytest
from ranvier import _core, kernels
from support.grouped import grouped
from support.refused import refused

F, D, HALVES, SCALAR = np.ones((2, 3), "f4"), np.ones((2, 3)), np.ones((2, 2), "f2"), np.ones((), "f4")
LINE, FLAT, ONE, TWO, RUNNING = F[0], np.ones(8, "f4"), np.ones(1), np.ones(2), np.ones((2, 3), "f4")
SIGNALS, IMAGES, WEIGHT = np.ones((1, 1, 4), "f4"), np.ones((2, 3, 8, 8), "f4"), np.ones((4, 3, 3, 3), "f4")
X, GRID, CHANNELS, BOXES = IMAGES[0, 0], IMAGES[..., :2], np.ones(3, "f4"), np.ones((2, 4), int)
TURNS, INDEX, PAIR, KEY = np.ones((2, 6)), np.zeros(2, int), np.array([0, 1]), np.array([-5, 3])
SCORES = SCALAR, F, INDEX, SCALAR
STRIDED, SWAPPED, READ_ONLY = np.zeros(4, np.int64)[::2], F.astype(">f4"), np.broadcast_to(F[0], (2, 3))
SHARED = np.lib.stride_tricks.as_strided(np.ones(1, np.float32), (2, 3), (0, 0))


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
    "[next_key] got state of shape (3,); expected (2,)": lambda: _core.next_key(np.zeros(3, int)),
    "[permute] got a strided or too long array": lambda: _core.permute(STRIDED, 0),
    "[add] got a beyond the largest float64; expected a number": lambda: _core.add(10**400, F),
    "[add] got out that overlaps an input in memory;": lambda: _core.add(F[:, :2], F[:, 1:], out=F[:, :2]),
    "[add] got out that is byte-swapped or unaligned; expected a": lambda: _core.add(F, F, out=SWAPPED),
    "[add] got out whose elements share memory; expected an array with": lambda: _core.add(F, F, out=SHARED),
    "[add] got a with 20 dimensions; expected at most 8": lambda: _core.add(F.reshape((1,) * 18 + (2, 3)), F),
    "[fill] got a read-only y; expected a writable array": lambda: _core.fill(READ_ONLY, 0),
    "[cast] got out that overlaps an input in memory; expected memory of": lambda: _core.cast(F, F.dtype, F),
    "[full] got shape (2, -1); expected sizes >= 0": lambda: _core.full((2, -1), F.dtype, 0),
    "[full] got shape (1, 1, 1, 1, 1, 1, 1, 1, 1); expected at": lambda: _core.full((1,) * 9, F.dtype, 0),
    "[copy_like] got x of shape (2, 3) and like of shape (3, 2); expected": lambda: _core.copy_like(F, F.T),
    "[copy] got x of shape (2, 3); expected 4 dimensions for": lambda: kernels.copy(F, channels_last=True),
    "[cat] got no tensors; expected at least one": lambda: _core.concatenate([]),
    "[cat] got dim 2 for tensors of 2 dimensions; expected -2 to 1": lambda: kernels.concatenate([F], 2),
    "[cat] got shapes (2, 3) and (3, 2); expected shapes equal": lambda: kernels.concatenate([F, F.T], 0),
    "[stack] got no tensors; expected at least one": lambda: _core.stack([]),
    "[stack] got shapes (2, 3) and (3,); expected equal shapes": lambda: _core.stack([F, LINE]),
    "[stack] got a tensor of shape (1, 1, 1, 1, 1, 1,": lambda: _core.stack([F.reshape((1,) * 6 + (2, 3))]),
    "[stack] got dim 3 for tensors of 3 dimensions; expected -3 to 2": lambda: _core.stack([F], 3),
    "[_progression] got count -1; expected at least 0": lambda: _core._progression(0, 1, -1, F.dtype),
    "[_triangle_indices] got rows -1; expected sizes from": lambda: _core._triangle_indices(-1, 3, 0, False),
    "[roll] got axis 2 for x of shape (2, 3); expected -2 to 1": lambda: _core.roll(F, 1, 2),
    "[flip] got axes (0, -2); expected each dimension once": lambda: _core.flip(F, (0, -2)),
    "[repeat] got times (2,); expected a number for each dimension": lambda: _core.repeat(F, (2,)),
    "[repeat] got times (4611686018427387904,": lambda: _core.repeat(F, (2**62, 2**62)),
    "[repeat] got times (1, 1, 1, 1, 1, 1, 1, 1, 1); expected at most 8": lambda: _core.repeat(F, (1,) * 9),
    "[repeat_each] got x of shape (2, 3); expected fewer dimensions,": lambda: _core.repeat_each(F, -1, 0),
    "[repeat_each] got times 9223372036854775808; expected a": lambda: _core.repeat_each(F, 2**63, 1),
    # reductions and lines
    "[sum] got axis 2 for an array of 2 dimensions; expected -2 to 1": lambda: kernels.sum(F, 2),
    "[mean] got axis -2 twice; expected distinct axes": lambda: kernels.mean(F, (0, -2)),
    "[argmax] got 2 axes; expected one": lambda: kernels.argmax(F, (0, 1)),
    "[argmax] got x without dimensions; expected at least one": lambda: _core.argmax(SCALAR, ()),
    "[sort] got axis 2 for x of shape (2, 3); expected -2 to 1": lambda: kernels.sort(F, 2),
    "[sort] got count 4 for an axis of length 3; expected 0 to 3": lambda: kernels.sort(F, 1, False, 4),
    "[sort] got an axis of length 4294967296;": lambda: _core.sort(np.broadcast_to(F[0, 0], (2**32,)), 0),
    "[cumsum] got axis 2 for x of shape (2, 3); expected -2 to 1": lambda: kernels.cumsum(F, 2),
    "[cumsum] got out that overlaps an input in memory; expected": lambda: kernels.cumsum(F, 0, out=F),
    "[fourier] got n 22; expected 1 or more, without a prime": lambda: _core.fourier(FLAT, "rfft", 22),
    "[fourier] got kind 'dct'; expected 'fft', 'ifft', 'rfft' or": lambda: _core.fourier(FLAT, "dct", 8),
    "[fourier] got x of shape (8,); expected at most 7 points": lambda: _core.fourier(FLAT, "rfft", 7),
    "[fourier] got x of shape (8,); expected (..., m, 2)": lambda: _core.fourier(FLAT, "irfft", 8),
    "[fourier] got x of shape (4, 2); expected at": lambda: _core.fourier(FLAT.reshape(4, 2), "irfft", 4),
    "[fourier] got window of shape (7,); expected": lambda: _core.fourier(FLAT, "rfft", 8, window=FLAT[:7]),
    "[fourier] got window of shape": lambda: _core.fourier(FLAT.reshape(4, 2), "fft", 4, window=FLAT[:2]),
    "[fourier] got x of shape (1, 1, 1, 1,": lambda: _core.fourier(F.reshape((1,) * 6 + (2, 3)), "rfft", 3),
    "[jet] got t of shape (2, 3); expected (rows, *shape of saved) with at": lambda: _core.jet(D, D, "tanh"),
    "[jet] got t of shape (0, 3); expected (rows, *shape of saved)": lambda: _core.jet(D[0], D[:0], "tanh"),
    "[jet] got t of shape (16, 3); expected at most 15": lambda: _core.jet(D[0], np.zeros((16, 3)), "tanh"),
    "[jet] got weights of shape (2,); expected (1,)": lambda: _core.jet(D[0], D, "tanh", TWO),
    "[jet] got function 'relu'; expected 'exp', 'sigmoid', 'tanh',": lambda: _core.jet(D[0], D, "relu"),
    "[jet] got dy of shape (3,) and t of shape (2, 3);": lambda: _core.jet_backward(D[0], D[0], D, "tanh"),
    # products, distances and attention
    "[matmul] got a of shape (2, 3) and b of shape (); expected operands": lambda: kernels.matmul(F, SCALAR),
    "[matmul] got out that overlaps": lambda: kernels.matmul(X, X, None, "relu", IMAGES[0, 1], IMAGES[0, 1]),
    "[matmul] got saved and no activation; expected": lambda: _core.matmul(F, F.T, saved=F[:, :2].copy()),
    "[matmul] got saved of shape (2, 3); expected": lambda: kernels.matmul(F, F.T, None, "relu", None, F),
    "[pairwise_distance] got p nan; expected a number": lambda: _core.pairwise_distance(F, F, p=np.nan),
    "[cdist] got p -1.0; expected a number of at least 0": lambda: kernels.cdist(D, D, -1.0),
    "[cdist] got x1 of shape (3,); expected (n, d)": lambda: kernels.cdist(LINE),
    "[cdist] got y of shape (2,); expected (1,)": lambda: kernels.cdist_backward(ONE, TWO, D),
    "[attention] got q of shape (3,); expected (..., L, E)": lambda: _core.attention(LINE, F, F, 1.0),
    "[attention] got k of shape (3, 2); expected one that": lambda: _core.attention(F, F.T, F, 1.0),
    "[attention] got v of shape (3, 3); expected": lambda: _core.attention(F, F, np.ones((3, 3), "f4"), 1.0),
    "[attention] got k of shape (2, 2, 8,": lambda: _core.attention(IMAGES[:2], IMAGES[:, :2], IMAGES, 1.0),
    "[attention] got mask of shape (2, 3); expected one": lambda: _core.attention(F, F, F, 1.0, False, 0, F),
    "[attention] got first -1; expected 0 to 2**40": lambda: _core.attention(F, F, F, 1.0, True, -1),
    "[attention] got weights of shape (2, 3);": lambda: _core.attention_backward(F, F, F, F, F, 1.0),
    "[attention] got weights of": lambda: _core.attention_backward(
        F, F, F, F, np.ones((2, 4), "f4")[:, ::2], 1.0
    ),
    "[attention] got dk of shape": lambda: _core.attention_backward(
        F, F, F, F, F[:, :2].copy(), 1.0, dk=F[:, :2].copy()
    ),
    "[cache_positions] got 8 more tokens for a row": lambda: _core.cache_positions(np.array([0, 3]), 8, 10),
    "[multinomial] got weights that are negative, not finite or": lambda: draw([[1.0, 1.0], [1.0, -1.0]]),
    "[multinomial] got weights that are negative, not finite or all": lambda: draw([[1.0, 1.0], [0.0, 0.0]]),
    "[multinomial] got weights that are negative, not finite or all 0;": lambda: draw(
        [[1.0, 1.0], [1.0, np.inf]]
    ),
    "[multinomial] got weights that are negative, not finite or all 0; expected": lambda: draw(
        [[1.0, 1.0], [np.nan, 1.0]]
    ),
    "[multinomial] got 3 samples without replacement from 2 weights;": lambda: draw([[1.0, 0.0]], 3, False),
    "[multinomial] got draw of shape (1,); expected (2, 1)": lambda: draw(D, numbers=lambda _: np.zeros(1)),
    "[dropout] got key of shape (3,); expected (2,):": lambda: _core.dropout(F, 0.5, np.zeros(3, int), None),
    "[dropout] got p -0.5; expected a probability, 0 to 1": lambda: _core.dropout(F, -0.5, KEY, None),
    "[random_uniform] got low 1.0 and high": lambda: _core.random_uniform((3,), "float32", 1.0, 0.0, KEY),
    # images
    "[conv2d] got weight with 4 output channels": lambda: kernels.conv2d(IMAGES, WEIGHT[:, :1], groups=3),
    "[allow_conv_algorithm] got name 'fft'; expected": lambda: _core.allow_conv_algorithm("fft", True),
    "[conv2d_pool] got x of shape (3, 8, 8); expected 4": lambda: _core.conv2d_pool(IMAGES[0], WEIGHT, None),
    "[conv2d_pool] got x with 2 channels and weight": lambda: _core.conv2d_pool(IMAGES[:, :2], WEIGHT, None),
    "[conv2d_pool] got bias of shape (3,); expected": lambda: _core.conv2d_pool(IMAGES, WEIGHT, CHANNELS),
    "[conv2d_pool] got a window of 7 x 7 and a": lambda: _core.conv2d_pool(IMAGES, WEIGHT, None, window=7),
    "[conv2d_pool] got a window of 2 x": lambda: _core.conv2d_pool(IMAGES, WEIGHT, None, window=(2, 200)),
    "[conv2d_pool] got window 0; expected at": lambda: _core.conv2d_pool(IMAGES, WEIGHT, None, window=0),
    "[conv2d_pool] got activation": lambda: _core.conv2d_pool(IMAGES, WEIGHT, None, activation="tanh"),
    "[conv2d_pool_backward] got a window of 17 x 17; expected at most 256": lambda: pooled(window=17),
    "[conv2d_pool_backward] got a window of 7 x 2 and a convolution's result": lambda: pooled(window=(7, 2)),
    "[conv2d_pool_backward] got window 0; expected at least 1 and at most": lambda: pooled(window=0),
    "[conv2d_pool_backward] got dy of shape (2, 4, 3, 2); expected (2,": lambda: pooled(shape=(2, 4, 3, 2)),
    "[conv2d_pool_backward] got where of shape (2, 4, 3,": lambda: pooled(where=np.ones((2, 4, 3, 2), "u1")),
    "[conv2d_pool_backward] got saved of shape (2, 3, 8, 7);": lambda: pooled(saved=IMAGES[..., :7]),
    "[conv2d_pool_backward] got x with 3 channels and weight for 2;": lambda: pooled(w=WEIGHT[:, :2]),
    "[conv2d_pool_backward] got x of shape (2, 3, 8); expected 4": lambda: pooled(x=IMAGES[..., 0]),
    "[conv_transpose1d_backward]": lambda: kernels.conv_transpose1d_backward(
        IMAGES, SIGNALS, WEIGHT[:1, :, 0]
    ),
    "[conv_transpose1d] got weight of shape (2, 3); expected": lambda: kernels.conv_transpose1d(SIGNALS, F),
    "[conv_transpose2d] got weight of shape (2, 3); expected 4": lambda: kernels.conv_transpose2d(IMAGES, F),
    "[max_pool1d] got kernel_size 0; expected at least 1": lambda: kernels.max_pool1d(SIGNALS, 0),
    "[max_pool2d] got kernel_size (0, 0); expected whole numbers of": lambda: kernels.max_pool2d(IMAGES, 0),
    "[max_pool2d] got stride (0, 0); expected whole numbers of at": lambda: kernels.max_pool2d(IMAGES, 2, 0),
    "[max_pool2d] got padding (2, 2); expected at most half of": lambda: kernels.max_pool2d(IMAGES, 2, 1, 2),
    "[max_pool2d] got images of (8, 8) for windows of (9, 9) and": lambda: kernels.max_pool2d(IMAGES, 9),
    "[max_pool2d] got kernel_size (1, 2, 3); expected a": lambda: kernels.max_pool2d(IMAGES, (1, 2, 3)),
    "[max_pool2d] got x of shape (2, 3); expected images (N, C, H, W)": lambda: kernels.max_pool2d(F, 2),
    "[avg_pool1d] got signals of 4 for windows of 10 and padding": lambda: kernels.avg_pool1d(SIGNALS, 10),
    "[avg_pool2d] got divisor_override 0;": lambda: kernels.avg_pool2d(IMAGES, 2, divisor_override=0),
    "[adaptive_max_pool1d] got x of shape (2, 3); expected": lambda: kernels.adaptive_max_pool1d(F, 1),
    "[adaptive_avg_pool2d] got images of (0, 8);": lambda: kernels.adaptive_avg_pool2d(IMAGES[:, :, :0], 2),
    "[adaptive_avg_pool2d] got output_size (-1, -1);": lambda: kernels.adaptive_avg_pool2d(IMAGES, -1),
    "[interpolate] got x of shape (2, 3); expected signals (N, C, L) or": lambda: kernels.interpolate(F, 2),
    "[interpolate] got neither size and scale_factor; expected one of": lambda: kernels.interpolate(SIGNALS),
    "[interpolate] got both size and scale_factor; expected one": lambda: kernels.interpolate(SIGNALS, 2, 2),
    "[interpolate] got size (2, 2); expected one number": lambda: kernels.interpolate(SIGNALS, (2, 2)),
    "[interpolate] got size (2,); expected a number or a pair of": lambda: kernels.interpolate(IMAGES, (2,)),
    "[interpolate] got an output of 0 along an axis of 4; expected": lambda: kernels.interpolate(SIGNALS, 0),
    "[interpolate] got scale_factor -1; expected numbers": lambda: kernels.interpolate(SIGNALS, None, -1),
    "[interpolate] got mode 'bilinear' for 3": lambda: kernels.interpolate(SIGNALS, 2, mode="bilinear"),
    "[interpolate] got mode 'linear' for 4": lambda: kernels.interpolate(IMAGES, 2, mode="linear"),
    "[interpolate] got align_corners for a": lambda: kernels.interpolate(SIGNALS, 2, align_corners=True),
    "[interpolate] got a size of 0; expected from 1 to": lambda: kernels.interpolate(SIGNALS[..., :0], 2),
    "[interpolate_backward] got dy of shape (1,": lambda: kernels.interpolate_backward(SIGNALS, (1, 3, 2)),
    "[pad] got pad with 1 numbers for 2 dimensions; expected a pair for each": lambda: kernels.pad(F, (1,)),
    "[pad] got pad with 4 numbers for 1 dimensions; expected a": lambda: kernels.pad(LINE, (1, 1, 1, 1)),
    "[pad] got pad (1, 1099511627776); expected numbers below 2**31": lambda: kernels.pad(LINE, (1, 2**40)),
    "[pad] got shape (3,), of which pad would leave -1 along dimension": lambda: kernels.pad(LINE, (-3, -1)),
    "[pad] got mode 'reflect' with 2 numbers for 1": lambda: kernels.pad(LINE, (1, 1), "reflect"),
    "[pad] got a pad of 4 around an axis of 4; expected at": lambda: kernels.pad(SIGNALS, (4, 1), "reflect"),
    "[pad] got a pad of 5 around an axis of 4; expected": lambda: kernels.pad(SIGNALS, (1, 5), "circular"),
    "[pad] got an axis of 0, padded to 2;": lambda: kernels.pad(SIGNALS[..., :0], (1, 1), "replicate"),
    "[pad] got an axis of 4, padded to 0; expected": lambda: kernels.pad(SIGNALS, (-2, -2), "replicate"),
    "[pad_backward] got shape (1, 1, 4), of which pad would": lambda: kernels.pad_backward(SIGNALS, (2, 3)),
    "[grid_sample] got x of shape (2, 3, 0, 8);": lambda: kernels.grid_sample(IMAGES[:, :, :0], GRID),
    "[grid_sample] got x of shape (2, 3) and grid of (2, 3, 8, 2);": lambda: kernels.grid_sample(F, GRID),
    "[nms] got boxes of shape (2, 3); expected (n, 4)": lambda: kernels.nms(F, 0.5),
    "[move_images] got x of shape (3, 8, 8); expected images": lambda: _core.move_images(IMAGES[0], BOXES),
    "[move_images] got place with the value": lambda: _core.move_images(IMAGES, 2**40 * BOXES),
    "[move_images] got height -1; expected 0 to 2**31": lambda: _core.move_images(IMAGES, BOXES, -1),
    "[move_images] got x of shape (2,": lambda: _core.move_images(IMAGES[..., :0], BOXES, 3, 3, mode="edge"),
    "[affine_images] got matrix of shape (2, 4) for 2": lambda: _core.affine_images(IMAGES, TURNS[:, :4]),
    "[affine_images] got fill 0.5 for images": lambda: _core.affine_images(IMAGES.astype("u1"), TURNS, 0.5),
    "[erase_images] got partner with the value 2;": lambda: _core.erase_images(IMAGES, BOXES, 2 * PAIR),
    # normalisations and losses
    "[batch_norm] got x of shape (3,); expected at least 2 dimensions (N,": lambda: _core.batch_norm(LINE),
    "[batch_norm] got x of shape (1, 3, 1, 1) when": lambda: _core.batch_norm(IMAGES[:1, :, :1, :1]),
    "[batch_norm] got one running statistic; expected": lambda: _core.batch_norm(IMAGES, None, None, LINE),
    "[batch_norm] got a read-only": lambda: _core.batch_norm(IMAGES, None, None, READ_ONLY[0], LINE),
    "[batch_norm] got no running statistics; expected": lambda: _core.batch_norm(IMAGES, training=False),
    "[batch_norm] got momentum None": lambda: _core.batch_norm(F, None, None, *RUNNING, momentum=None),
    "[batch_norm] got eps -1.0; expected a number of at least 0": lambda: _core.batch_norm(IMAGES, eps=-1.0),
    "[batch_norm] got momentum 2; expected a number from 0 to": lambda: _core.batch_norm(IMAGES, momentum=2),
    "[group_norm] got num_groups 2 for x with 3 channels; expected a": lambda: _core.group_norm(IMAGES, 2),
    "[layer_norm] got x of shape (2, 3, 8, 8) and normalized_shape": lambda: _core.layer_norm(IMAGES, (3,)),
    "[layer_norm] got weight of shape (2,); expected": lambda: _core.layer_norm(F, (3,), F[0, :2]),
    "[rms_norm] got x of shape (2, 3) and normalized_shape (); expected the": lambda: _core.rms_norm(F, ()),
    "[kl_div] got reduction 'batchmean' for x of shape": lambda: _core.kl_div(SCALAR, SCALAR, "batchmean"),
    "[cross_entropy] got class": lambda: _core.cross_entropy_backward(
        *SCORES, F[:, :2].copy(), of_target=True
    ),
    "[cross_entropy] got tops_and_sums of shape ();": lambda: _core.cross_entropy_backward(*SCORES, SCALAR),
    # places
    "[embedding] got index with 8 dimensions;": lambda: _core.embedding(INDEX[0].reshape((1,) * 8), F),
    "[embedding_backward] got dy of shape (2, 3) for": lambda: _core.embedding_backward(F, INDEX[None], 4),
    "[embedding_backward] got padding_idx 4 for 4": lambda: _core.embedding_backward(F, PAIR, 4, 4),
    "[embedding_bag] got indices of one dimension without offsets;": lambda: kernels.embedding_bag(PAIR, F),
    "[embedding_bag] got offsets that do not start": lambda: kernels.embedding_bag(PAIR, F, np.array([1])),
    "[embedding_bag] got offsets that do not": lambda: kernels.embedding_bag(PAIR, F, np.array([0, 2, 1])),
    "[embedding_bag] got offset 4 for 2 indices;": lambda: kernels.embedding_bag(PAIR, F, np.array([0, 4])),
    "[embedding_bag] got no": lambda: kernels.embedding_bag(PAIR, F, PAIR[:0], include_last_offset=True),
    "[embedding_bag] got offsets for indices of two": lambda: kernels.embedding_bag(PAIR[None], F, PAIR[:1]),
    "[embedding_bag] got": lambda: kernels.embedding_bag(PAIR[None], F, None, np.ones((1, 2), "f4"), "max"),
    "[gather] got index with the value": lambda: kernels.gather(F, np.array([[2**63]], np.uint64), 1),
    "[gather] got index of shape (1, 1, 2) for x of shape": lambda: kernels.gather(F, PAIR[None, None], 0),
    "[scatter_add] got axis 2 for dy of shape": lambda: kernels.scatter_add(F, np.zeros((2, 3), int), 2, 5),
    "[scatter] got out that overlaps": lambda: _core.scatter(IMAGES, PAIR, IMAGES[:, :2], 1, False, IMAGES),
    # lists of parameters
    "[nadam] got gradients[0] of shape (2,); expected the": lambda: step("nadam", gradients=[LINE[:2]]),
    "[nadam] got gradients with 0 arrays; expected one for each of 1": lambda: step("nadam", gradients=[]),
    "[nadam] got parameters[0] that is read-only; expected a": lambda: step("nadam", [READ_ONLY[0]]),
    "[nadam] got parameters[0] that is byte-swapped or unaligned;": lambda: step("nadam", [SWAPPED[0]]),
    "[optimizer_step] got rule 'momentum'; expected one of sgd, rmsprop, adam,": lambda: step("momentum"),
    "[nadam] got 0 states; expected 2": lambda: step("nadam", states=[]),
    "[nadam] got numbers[0] of shape (2,); expected one number": lambda: step("nadam", numbers=[TWO]),
    "[nadam] got settings of shape (1,); expected (8,)": lambda: step("nadam", settings=ONE),
    "[sgd] got states[0][0] that": lambda: step(
        "sgd", [F], gradients=[F], states=[[F.T.copy().T]], numbers=None, settings=np.ones(6)
    ),
    "[clip_gradients] got norm of shape (2,); expected": lambda: _core.clip_gradients([LINE], ONE, TWO),
    "[clip_gradients] got gradients[0] that is": lambda: _core.clip_gradients([SWAPPED], ONE, None),
    "[clip_gradients] got gradients[0] that is read-only;": lambda: _core.clip_gradients(
        [READ_ONLY], ONE, None
    ),
    "[move_parameters] got values[0] of shape (2,": lambda: _core.move_parameters([LINE], [F], ONE, True),
    "[move_parameters] got factor of shape (2,);": lambda: _core.move_parameters([LINE], [LINE], TWO, True),
    "[flat_dot] got b of shape (2,); expected (3,), contiguous": lambda: _core.flat_dot(LINE, LINE[:2]),
    "[flat_dot] got a of shape (2, 3); expected (0,), contiguous": lambda: _core.flat_dot(F, F),
    "[flat_dot] got a of shape (2,); expected (2,), contiguous": lambda: _core.flat_dot(F.T[0], F.T[0]),
    "[lbfgs_loop] got 1 changes and 0 steps; expected as many": lambda: lbfgs([LINE], [], ONE, ONE, None),
    "[lbfgs_loop] got ro of shape (2,); expected (1,),": lambda: lbfgs([LINE], [LINE], TWO, ONE, None),
    "[lbfgs_loop] got alphas of shape (2,); expected one for": lambda: lbfgs([LINE], [LINE], ONE, TWO, None),
    "[lbfgs_loop] got scale of several numbers; expected one": lambda: lbfgs([LINE], [LINE], ONE, ONE, TWO),
    "[weight_penalty] got gradients with 0 arrays; expected one for each of": lambda: penalty(gradients=[]),
    "[weight_penalty] got gradients[0] that is read-only;": lambda: penalty(gradients=[READ_ONLY[0]]),
    "[weight_penalty] got l1 of shape (2,); expected one number for each of 1": lambda: penalty(l1=TWO),
    "[weight_penalty] got l2 of shape (1, 1); expected one number for each": lambda: penalty(l2=ONE[None]),
    "[weight_penalty] got scale of shape (2,); expected one number": lambda: penalty(scale=TWO),
    # rates
    "[probe_fma] got dtype 'int8'; expected 'float32' or 'float64'": lambda: _core.probe_fma("int8", 1),
    "[probe_fma] got repeats 0; expected at least 1": lambda: _core.probe_fma("float32", 0),
    "[probe_bandwidth] got kind 'write'; expected 'read'": lambda: _core.probe_bandwidth(1024, 1, "write"),
    "[probe_bandwidth] got bytes -1; expected at least 1": lambda: _core.probe_bandwidth(-1, 1, "read"),
    "[probe_barrier] got repeats 0; expected at least 1": lambda: _core.probe_barrier(0),
}
TYPES = {
    "[next_key] got state of dtype float64; expected int64": lambda: _core.next_key(np.zeros(2)),
    "[next_key] got state of type list; expected a NumPy array": lambda: _core.next_key([1, 2]),
    "[add] got numbers only; expected at least one array": lambda: _core.add(1, 2),
    "[exp] got x of type list; expected a NumPy array": lambda: kernels.exp([1.0]),
    "[fill] got another dtype; expected floats, int64, int32": lambda: _core.fill(np.zeros(2, np.uint8), 1),
    "[fill] got value 'a'; expected a number": lambda: _core.fill(F, "a"),
    "[cast] got x of dtype float128; expected": lambda: _core.cast(F.astype(np.longdouble), F.dtype, None),
    "[cast] got another dtype; expected floats, int64,": lambda: _core.cast(F, np.dtype("int16"), None),
    "[cast] got dtype 'float32'; expected one of numbers": lambda: _core.cast(F, "float32", None),
    "[full] got shape [2]; expected a tuple": lambda: _core.full([2], F.dtype, 0),
    "[cat] got numpy.ndarray; expected a list or tuple of arrays": lambda: _core.concatenate(F),
    "[stack] got a tensor of dtype float32 and a tensor of dtype float64;": lambda: _core.stack([F, D]),
    "[stack] got a tensor of dtype complex128; expected floats of": lambda: _core.stack([F.astype(complex)]),
    "[_progression] got dtype dtype('int16');": lambda: _core._progression(0, 1, 3, np.dtype("int16")),
    "[roll] got step 1.0; expected a whole number": lambda: _core.roll(F, 1.0, 0),
    "[flip] got x of dtype complex128; expected floats of 16": lambda: _core.flip(F.astype(complex), (0,)),
    "[running_extreme] got another dtype;": lambda: kernels.running_extreme(LINE.astype("i1"), 0, True),
    "[fourier] got x of dtype int64; expected float32 or": lambda: _core.fourier(np.ones(8, int), "rfft", 8),
    "[matmul] got b of type numpy.float32; expected a NumPy array": lambda: kernels.matmul(F, np.float32(1)),
    "[matmul] got a of dtype float32 and": lambda: kernels.matmul(F, F.T, None, "relu", None, D[:, :2]),
    "[matmul] got a of dtype float16 and bias of dtype": lambda: kernels.matmul(HALVES, HALVES, F[0, :2]),
    "[matmul] got floats of 16 bits and": lambda: kernels.matmul(HALVES, HALVES, None, "relu", None, HALVES),
    "[attention] got q of dtype float32 and mask": lambda: _core.attention(F, F, F, 1.0, False, 0, D[:, :2]),
    "[attention] got floats of 16 bits; expected": lambda: _core.attention(HALVES, HALVES, HALVES, 1.0),
    "[multinomial] got draw of dtype float32;": lambda: draw(D, numbers=lambda n: np.zeros(n, "f4")),
    "[random_uniform] got dtype 'int32';": lambda: _core.random_uniform((3,), "int32", 0.0, 1.0, KEY),
    "[conv2d_pool] got x of dtype float64;": lambda: _core.conv2d_pool(IMAGES.astype("f8"), WEIGHT, None),
    "[conv2d_pool_backward] got dy of dtype float64 and x of": lambda: pooled(dy=np.ones((2, 4, 3, 3))),
    "[conv2d_pool_backward] got dy of dtype float32 and x of dtype": lambda: pooled(x=IMAGES.astype("f8")),
    "[conv2d_pool_backward] got dy of dtype float32 and weight of": lambda: pooled(w=WEIGHT.astype("f8")),
    "[conv2d_pool_backward] got dy of dtype float32 and saved of": lambda: pooled(saved=IMAGES.astype("f8")),
    "[conv2d_pool_backward] got where of dtype float64;": lambda: pooled(where=np.ones((2, 4, 3, 3))),
    "[cross_entropy] got tops_and_sums of type": lambda: _core.cross_entropy_backward(*SCORES, None),
    "[nadam] got gradients of dtype float64; expected float32": lambda: step("nadam", gradients=[D[0]]),
    "[optimizer_step] got parameters of type tuple; expected a list": lambda: step("nadam", (LINE,)),
    "[nadam] got parameters of dtype int64; expected float32 or float64": lambda: step("nadam", [INDEX]),
    "[nadam] got states[0] None; expected a list": lambda: step("nadam", states=[None, None]),
    "[nadam] got numbers None; expected a list": lambda: step("nadam", numbers=None),
    "[radam] got numbers; expected None": lambda: step("radam", settings=FLAT[:7].astype(float)),
    "[move_parameters] got values of dtype": lambda: _core.move_parameters([LINE], [D[0]], ONE, True),
    "[move_parameters] got values None; expected a": lambda: _core.move_parameters([LINE], None, ONE, True),
    "[lbfgs_loop] got changes of dtype float64; expected": lambda: lbfgs([D[0]], [LINE], ONE, ONE, None),
    "[weight_penalty] got parameters None; expected a list": lambda: penalty(parameters=None),
    "[weight_penalty] got gradients of dtype float64; expected float32": lambda: penalty(gradients=[D[0]]),
    "[weight_penalty] got l2 of dtype float32; expected float64": lambda: penalty(l2=LINE[:1]),
}
INDICES = {
    "[max] got x of shape (0, 3), empty along the axis; expected at least": lambda: kernels.max(F[:0], 0),
    "[min] got x of shape (2, 0, 1), empty along the axis; expected": lambda: kernels.min(F[:, :0, None], 1),
    "[embedding_backward] got index 1 for 1 embeddings;": lambda: _core.embedding_backward(F, PAIR, 1),
    "[embedding_bag] got index 2 for 2 embeddings;": lambda: kernels.embedding_bag(PAIR[None] + 1, F),
    "[gather] got index 2 for an axis of length 2;": lambda: kernels.gather(F, np.full((1, 3), 2), 0),
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
