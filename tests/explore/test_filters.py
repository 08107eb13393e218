"""Named kernels, and what they make of images."""

import numpy as np
import pytest
from ranvier.explore import KERNELS, filter_image
from support.refused import refused

HALF = np.repeat([[0, 0, 0, 0, 255, 255, 255, 255]], 8, axis=0)


def by_hand(image, kernel):
    r, s = kernel.shape
    rows, columns = image.shape[0] - r + 1, image.shape[1] - s + 1
    return np.array(
        [[(image[i : i + r, j : j + s] * kernel).sum() for j in range(columns)] for i in range(rows)]
    )


def test_a_vertical_edge_answers_to_its_kernel_only():
    assert filter_image(HALF, "vertical_edge").max() == 765
    assert not filter_image(HALF, "horizontal_edge").any()
    assert filter_image(HALF.T, "horizontal_edge").max() == 765
    assert not filter_image(HALF.T, "vertical_edge").any()
    assert filter_image(HALF, "sobel_x").max() == 1020
    assert not filter_image(HALF, "sobel_y").any()


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_slides_as_by_hand(name, rng):
    image = rng.standard_normal((7, 9))
    np.testing.assert_allclose(filter_image(image, name), by_hand(image, KERNELS[name]), atol=1e-6)


@pytest.mark.parametrize("name", KERNELS)
def test_on_an_even_image_edges_answer_nothing_and_the_others_keep_it(name):
    even = np.full((6, 6), 7.0)
    edges = {"edge", "vertical_edge", "horizontal_edge", "sobel_x", "sobel_y", "laplacian"}
    np.testing.assert_allclose(filter_image(even, name), 0 if name in edges else 7, atol=1e-5)


def test_identity_and_same_padding(rng):
    image = rng.random((5, 6)).astype(np.float32)
    assert np.array_equal(filter_image(image, "identity", padding="same"), image)
    assert np.array_equal(filter_image(image, "identity"), image[1:-1, 1:-1])
    assert filter_image(image, np.ones((2, 3)), padding=1).shape == (6, 6)


def test_channels_and_batches_are_filtered_one_by_one(rng):
    images = rng.random((4, 3, 8, 8))
    filtered = filter_image(images, "sobel_x")
    assert filtered.shape == (4, 3, 6, 6)
    assert filtered.dtype == np.float64
    np.testing.assert_allclose(filtered[2, 1], filter_image(images[2, 1], "sobel_x"))
    assert filter_image(images[0], "blur").shape == (3, 6, 6)


def test_kernels_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        KERNELS["blur"][0, 0] = 1


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"\[filter_image\] got kernel 'blurr'; expected one of identity"):
        filter_image(HALF, "blurr")
    refused(ValueError, "an image of shape", filter_image, HALF[0], "blur")
    refused(ValueError, "kernel of shape", filter_image, HALF, [1, 2, 3])
    refused(ValueError, "conv2d", filter_image, HALF[:2], "blur")
