"""Winograd's algorithm for 3 x 3 convolutions: 2 x 2 outputs from 4 x 4 inputs with 16 products, not 36.

    y = A^T [ sum over c of (G g_c G^T) * (B^T d_c B) ] A        (* element by element)

In one dimension, F(2, 3): two outputs of three taps each, from four inputs d and weights g,

    y0 = d0 g0 + d1 g1 + d2 g2 = m0 + m1 + m2      m0 = (d0 - d2) g0      m1 = (d1 + d2) (g0 + g1 + g2) / 2
    y1 = d1 g0 + d2 g1 + d3 g2 = m1 - m2 - m3      m3 = (d1 - d3) g2      m2 = (d2 - d1) (g0 - g1 + g2) / 2

takes four products, not six: B^T transforms d, G transforms g and A^T the products. In two dimensions the
matrices are applied on both sides, to rows and columns.

The gradients are the transposed maps: a tile of dy becomes A dy A^T, with which

    dw = G^T [ sum over tiles of (A dy A^T) * (B^T d B) ] G
    dx = the sum over tiles of the patches B [ sum over k of (A dy_k A^T) * (G g_k G^T) ] B^T

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks" (CVPR 2016).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

B_T = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
A_T = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


def conv2d(x: Array, w: Array, padding: tuple[int, int] = (0, 0)) -> Array:
    """x (n, c, h, w), w (k, c, 3, 3) -> (n, k, p, q), at stride 1."""
    return _minimal_filter(x, w, padding, B_T, G, A_T)


def magnitude(x: Array, w: Array, padding: tuple[int, int] = (0, 0)) -> Array:
    """For each output the sum of the absolute values of all terms, to which rounding errors are relative."""
    return _minimal_filter(np.abs(x), np.abs(w), padding, np.abs(B_T), np.abs(G), np.abs(A_T))


def weight_gradient(
    x: Array, dy: Array, padding: tuple[int, int] = (0, 0), rounded: Callable[[Array], Array] = np.asarray
) -> Array:
    """dw (k, c, 3, 3), from transformed factors that are rounded."""
    return _weight_gradient(x, dy, padding, B_T, G, A_T, rounded)


def weight_magnitude(x: Array, dy: Array, padding: tuple[int, int] = (0, 0)) -> Array:
    return _weight_gradient(np.abs(x), np.abs(dy), padding, np.abs(B_T), np.abs(G), np.abs(A_T), np.asarray)


def input_gradient(dy: Array, w: Array, size: tuple[int, int], padding: tuple[int, int] = (0, 0)) -> Array:
    """dx (n, c, *size)."""
    return _input_gradient(dy, w, size, padding, B_T, G, A_T)


def input_magnitude(dy: Array, w: Array, size: tuple[int, int], padding: tuple[int, int] = (0, 0)) -> Array:
    return _input_gradient(np.abs(dy), np.abs(w), size, padding, np.abs(B_T), np.abs(G), np.abs(A_T))


def roundings(channels: int) -> int:
    """How often a term of an output is rounded at most: B^T adds once in each of two directions, G and A^T
    twice (halves are exact), and a sum of products rounds a product once and then each addition."""
    return 2 + 4 + 4 + channels


def _minimal_filter(
    x: Array, w: Array, padding: tuple[int, int], input_matrix: Array, weights: Array, output: Array
) -> Array:
    p, q = x.shape[2] + 2 * padding[0] - 2, x.shape[3] + 2 * padding[1] - 2
    v = input_matrix @ _input_tiles(x, padding) @ input_matrix.T  # (n, c, rows, columns, 4, 4)
    u = weights @ w @ weights.T  # (k, c, 4, 4)
    m = np.einsum("nctuij,kcij->nktuij", v, u, optimize=True)
    y = output @ m @ output.T  # (n, k, rows, columns, 2, 2)
    n, k, t, s = y.shape[:4]
    return y.transpose(0, 1, 2, 4, 3, 5).reshape(n, k, 2 * t, 2 * s)[:, :, :p, :q]


def _input_tiles(x: Array, padding: tuple[int, int]) -> Array:
    """(n, c, rows, columns, 4, 4); x is padded to whole tiles."""
    rows, columns = ((p, p + size % 2) for p, size in zip(padding, x.shape[2:], strict=True))
    image = np.pad(x, ((0, 0), (0, 0), rows, columns))
    return np.lib.stride_tricks.sliding_window_view(image, (4, 4), (2, 3))[:, :, ::2, ::2]


def _output_tiles(dy: Array) -> Array:
    """(n, k, rows, columns, 2, 2), with zeros beyond dy."""
    n, k, p, q = dy.shape
    whole = np.pad(dy, ((0, 0), (0, 0), (0, p % 2), (0, q % 2)))
    return whole.reshape(n, k, (p + 1) // 2, 2, (q + 1) // 2, 2).swapaxes(3, 4)


def _weight_gradient(
    x: Array,
    dy: Array,
    padding: tuple[int, int],
    input_matrix: Array,
    weights: Array,
    output: Array,
    rounded: Callable[[Array], Array],
) -> Array:
    input_matrix, output = input_matrix.astype(x.dtype), output.astype(dy.dtype)
    v = rounded(input_matrix @ _input_tiles(x, padding) @ input_matrix.T)
    d = rounded(output.T @ _output_tiles(dy) @ output)
    m = np.einsum("nctuij,nktuij->kcij", v, d, optimize=True)
    return weights.T @ m @ weights


def _input_gradient(
    dy: Array,
    w: Array,
    size: tuple[int, int],
    padding: tuple[int, int],
    input_matrix: Array,
    weights: Array,
    output: Array,
) -> Array:
    d = output.T @ _output_tiles(dy) @ output
    m = np.einsum("nktuij,kcij->nctuij", d, weights @ w @ weights.T, optimize=True)
    patches = input_matrix.T @ m @ input_matrix  # (n, c, rows, columns, 4, 4)
    n, c, rows, columns = patches.shape[:4]
    reach = [max(2 * t + 2, s + p) for t, s, p in zip((rows, columns), size, padding, strict=True)]
    image = np.zeros((n, c, *reach))
    for i in range(4):
        for j in range(4):
            image[:, :, i : i + 2 * rows : 2, j : j + 2 * columns : 2] += patches[..., i, j]
    return image[:, :, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
