"""torchaudio's compiled operators: loaded in its library's place, and their results."""

import itertools

import numpy as np
import pytest
from ranvier import from_numpy
from ranvier.torch.operators import ops
from support.refused import refused


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    library = tmp_path_factory.mktemp("site") / "torchaudio" / "lib" / "_torchaudio.abi3.so"
    ops.load_library(library)
    assert ops._torchaudio.is_align_available() is True
    assert ops._torchaudio.cuda_version() is None
    return ops.torchaudio


def test_recursive_filters(audio):
    rng = np.random.default_rng(0)
    x, a = rng.standard_normal((2, 3, 40)), rng.uniform(-0.5, 0.5, (3, 4))
    a[:, -1] = 1
    y = np.zeros((2, 3, 43))
    for i in range(40):
        y[..., i + 3] = x[..., i] - sum(a[:, j] * y[..., i + j] for j in range(3))
    out = from_numpy(np.zeros((2, 3, 43)))
    audio._lfilter_core_loop(from_numpy(x), from_numpy(a), out)
    np.testing.assert_allclose(out.numpy(), y, rtol=1e-12)


def collapsed(path):
    """The labels of a path: repetitions are one, then blanks go."""
    return [label for label, _ in itertools.groupby(path) if label]


@pytest.mark.parametrize("labels", [[1], [1, 2], [2, 2], [1, 2, 1]])
def test_the_best_of_all_paths(audio, labels):
    p = np.log(np.random.default_rng(len(labels)).dirichlet(np.ones(3), (1, 6)))
    numbers = [from_numpy(np.array(x)) for x in ([labels], [6], [len(labels)])]
    path, scores = audio.forced_align(from_numpy(p), *numbers, 0)
    paths = [q for q in itertools.product(range(3), repeat=6) if collapsed(q) == labels]
    assert tuple(path[0].tolist()) == max(paths, key=lambda q: p[0, range(6), q].sum())
    np.testing.assert_array_equal(scores.numpy(), p)


def test_what_cannot_be_aligned_is_refused(audio):
    labels, two = (from_numpy(np.array(x)) for x in ([[1, 1]], [2]))
    call = (from_numpy(np.zeros((1, 3, 2))), labels, two, two, 0)
    refused(ValueError, "got 2 steps for 2 labels, 1 of them as the one before", audio.forced_align, *call)
    refused(ValueError, "expected (1, t, classes)", audio.forced_align, call[0][0], *call[1:])
    refused(NotImplementedError, "rnnt_loss_forward", audio.rnnt_loss_forward, *call, 1.0)
