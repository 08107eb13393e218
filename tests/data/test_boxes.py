"""ranvier.data.vision.ops: boxes, against loops over pairs, and torchvision's names."""

import numpy as np
import pytest
import ranvier as rv
from ranvier.autograd import gradcheck
from ranvier.data.vision import ops
from support.refused import refused


def some_boxes(rng, n):
    corner = rng.uniform(0, 10, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(0.1, 6, (n, 2))], 1)


def pair(a, b):
    """The shared area, the joint area and that of the smallest box around both."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.prod(np.maximum(high - low, 0))
    joint = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared
    return shared, joint, np.prod(np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2]))


def test_overlaps(rng):
    a, b = some_boxes(rng, 7), some_boxes(rng, 5)
    wanted = np.array([[pair(p, q) for q in b] for p in a])
    shared, joint, around = np.moveaxis(wanted, -1, 0)
    x, y = rv.tensor(a), rv.tensor(b)
    np.testing.assert_allclose(ops.box_iou(x, y), shared / joint, rtol=1e-9)
    np.testing.assert_allclose(
        ops.generalized_box_iou(x, y), shared / joint - (around - joint) / around, rtol=1e-9
    )
    np.testing.assert_allclose(ops.box_area(x), np.prod(a[:, 2:] - a[:, :2], axis=1))
    leaves = [rv.tensor(boxes, requires_grad=True) for boxes in (a[:2], b[:2])]
    gradcheck(ops.generalized_box_iou, leaves)


@pytest.mark.parametrize("form", ["xyxy", "xywh", "cxcywh"])
def test_forms_and_back(form, rng):
    boxes = some_boxes(rng, 4)
    there = ops.box_convert(rv.tensor(boxes), "xyxy", form)
    np.testing.assert_allclose(ops.box_convert(there, form, "xyxy"), boxes)
    if form != "xyxy":
        np.testing.assert_allclose(there.numpy()[:, 2:], boxes[:, 2:] - boxes[:, :2])
        middle = boxes[:, :2] if form == "xywh" else boxes.reshape(4, 2, 2).mean(1)
        np.testing.assert_allclose(there.numpy()[:, :2], middle)


def slow_nms(boxes, scores, threshold):
    left, kept = list(np.argsort(-scores, kind="stable")), []
    while left:
        best = left.pop(0)
        kept.append(best)
        overlaps = {i: pair(boxes[best], boxes[i]) for i in left}
        left = [i for i in left if overlaps[i][0] / overlaps[i][1] <= threshold]
    return kept


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_nms(threshold, rng):
    boxes, scores, classes = some_boxes(rng, 40), rng.random(40), rng.integers(0, 3, 40)
    given = rv.tensor(boxes), rv.tensor(scores)
    assert ops.nms(*given, threshold).tolist() == slow_nms(boxes, scores, threshold)
    wanted = {
        int(places[i])
        for c in range(3)
        for places in [np.flatnonzero(classes == c)]
        for i in slow_nms(boxes[places], scores[places], threshold)
    }
    found = ops.batched_nms(*given, rv.tensor(classes), threshold).tolist()
    assert set(found) == wanted
    assert found == sorted(found, key=lambda i: -scores[i])


def test_equal_scores_stay_in_order():
    boxes = rv.tensor([[float(i), 0.0, i + 1.0, 1.0] for i in range(4)])
    scores, classes = rv.tensor([0.5, 0.9, 0.5, 0.5]), rv.tensor([1, 0, 0, 1])
    assert ops.batched_nms(boxes, scores, classes, 0.5).tolist() == [1, 0, 2, 3]


def test_none_at_all():
    empty = rv.zeros(0, 4)
    assert ops.nms(empty, rv.zeros(0), 0.5).tolist() == []
    assert ops.batched_nms(empty, rv.zeros(0), rv.zeros(0), 0.5).tolist() == []
    assert ops.box_iou(empty, rv.ones(3, 4)).shape == (0, 3)


def test_cut_and_removed():
    boxes = rv.tensor([[-1.0, 2.0, 9.0, 9.0], [0.0, 0.0, 1.0, 1.0]])
    assert ops.clip_boxes_to_image(boxes, (4, 5)).tolist() == [[0, 2, 5, 4], [0, 0, 1, 1]]
    assert ops.remove_small_boxes(boxes, 2).tolist() == [0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.box_area(rv.ones(2, 3)), "[box_area] got boxes of shape (2, 3)"),
        (lambda: ops.nms(rv.ones(2, 4), rv.ones(3), 0.5), "[nms] got boxes of shape (2, 4) and scores"),
        (lambda: ops.box_convert(rv.ones(1, 4), "xyxy", "yx"), "[box_convert] got 'yx'"),
    ],
)
def test_refused(call, message):
    refused(ValueError, message, call)


def test_the_path_of_programs():
    from ranvier.data.vision.ops.boxes import box_area

    assert box_area is ops.box_area
