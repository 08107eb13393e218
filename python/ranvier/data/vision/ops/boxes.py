"""Boxes of object detection, under torchvision's names: (..., 4) as x1, y1, x2, y2 unless said otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor, wrap
from ranvier.ops.elementwise.dtypes import as_tensor

__all__ = [
    "batched_nms", "box_area", "box_convert", "box_iou", "clip_boxes_to_image", "generalized_box_iou",
    "nms", "remove_small_boxes",
]  # fmt: skip


def _boxes(name: str, boxes: Any) -> Tensor:
    boxes = as_tensor(name, boxes)
    if boxes.ndim == 0 or boxes.shape[-1] != 4:
        raise ValueError(f"[{name}] got boxes of shape {boxes.shape}; expected (..., 4)")
    return boxes


def _parts(boxes: Tensor) -> tuple[Tensor, ...]:
    return ops.unbind(boxes, -1)


def box_area(boxes: Any) -> Tensor:
    """(x2 - x1) (y2 - y1) of each box.

    >>> import ranvier as rv
    >>> rv.data.vision.ops.box_area(rv.tensor([[0.0, 0.0, 2.0, 3.0]]))
    tensor([6.])
    """
    x1, y1, x2, y2 = _parts(_boxes("box_area", boxes))
    return (x2 - x1) * (y2 - y1)


def box_convert(boxes: Any, in_fmt: str, out_fmt: str) -> Tensor:
    """Boxes in another form: "xyxy", "xywh" (corner and size) or "cxcywh" (centre and size).

    >>> import ranvier as rv
    >>> rv.data.vision.ops.box_convert(rv.tensor([[0.0, 0.0, 2.0, 4.0]]), "xyxy", "cxcywh")
    tensor([[1., 2., 2., 4.]])
    """
    boxes = _boxes("box_convert", boxes)
    for form in (in_fmt, out_fmt):
        if form not in ("xyxy", "xywh", "cxcywh"):
            raise ValueError(f"[box_convert] got {form!r}; expected 'xyxy', 'xywh' or 'cxcywh'")
    if in_fmt == out_fmt:
        return boxes.clone()
    a, b, c, d = _parts(boxes)
    if in_fmt != "xyxy":
        if in_fmt == "cxcywh":
            a, b = a - 0.5 * c, b - 0.5 * d
        c, d = a + c, b + d
    if out_fmt != "xyxy":
        w, h = c - a, d - b
        a, b = (a, b) if out_fmt == "xywh" else ((a + c) / 2, (b + d) / 2)
        c, d = w, h
    return ops.stack((a, b, c, d), -1)


def _overlaps(name: str, boxes1: Any, boxes2: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    a, b = _boxes(name, boxes1), _boxes(name, boxes2)
    low = ops.maximum(a[:, None, :2], b[None, :, :2])
    high = ops.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = ops.clamp(high - low, min=0)
    shared = sides[..., 0] * sides[..., 1]
    return a, b, shared, box_area(a)[:, None] + box_area(b) - shared


def box_iou(boxes1: Any, boxes2: Any) -> Tensor:
    """The shared area over the joint area (N, M) of boxes (N, 4) and (M, 4).

    >>> import ranvier as rv
    >>> a, b = rv.tensor([[0.0, 0.0, 2.0, 2.0]]), rv.tensor([[1.0, 0.0, 3.0, 2.0]])
    >>> rv.data.vision.ops.box_iou(a, b)
    tensor([[0.3333]])
    """
    _, _, shared, joint = _overlaps("box_iou", boxes1, boxes2)
    return shared / joint


def generalized_box_iou(boxes1: Any, boxes2: Any) -> Tensor:
    """box_iou less the share of the smallest common box that neither covers: -1 ... 1.

    Source: Rezatofighi et al.: Generalized Intersection over Union, 2019.

    >>> import ranvier as rv
    >>> a, b = rv.tensor([[0.0, 0.0, 1.0, 1.0]]), rv.tensor([[3.0, 0.0, 4.0, 1.0]])
    >>> rv.data.vision.ops.generalized_box_iou(a, b)
    tensor([[-0.5000]])
    """
    a, b, shared, joint = _overlaps("generalized_box_iou", boxes1, boxes2)
    low = ops.minimum(a[:, None, :2], b[None, :, :2])
    high = ops.maximum(a[:, None, 2:], b[None, :, 2:])
    sides = ops.clamp(high - low, min=0)
    common = sides[..., 0] * sides[..., 1]
    return shared / joint - (common - joint) / common


def nms(boxes: Any, scores: Any, iou_threshold: float) -> Tensor:
    """The indices of the boxes (N, 4) that remain, by falling score (N): a box goes if a better one that
    remains has a box_iou with it above the threshold.

    >>> import ranvier as rv
    >>> boxes = rv.tensor([[0.0, 0.0, 2.0, 2.0], [0.1, 0.0, 2.0, 2.0], [5.0, 5.0, 6.0, 6.0]])
    >>> rv.data.vision.ops.nms(boxes, rv.tensor([0.5, 0.9, 0.1]), 0.5)
    tensor([1, 2])
    """
    boxes, scores = _boxes("nms", boxes).detach(), as_tensor("nms", scores).detach()
    if boxes.ndim != 2 or scores.shape != boxes.shape[:1]:
        raise ValueError(
            f"[nms] got boxes of shape {boxes.shape} and scores of shape {scores.shape}; "
            "expected (N, 4) and (N,)"
        )
    with np.errstate(invalid="ignore", divide="ignore"):  # two empty boxes: NaN, which is not above
        above = box_iou(boxes, boxes)._read("nms") > iou_threshold
    order = np.argsort(-scores._array, kind="stable")
    gone, kept = np.zeros(len(order), bool), []
    for i in order:
        if not gone[i]:
            kept.append(i)
            gone |= above[i]
    return wrap(np.asarray(kept, np.int64))


def batched_nms(boxes: Any, scores: Any, idxs: Any, iou_threshold: float) -> Tensor:
    """nms for each class of idxs (N) by itself: boxes of different classes do not suppress each other.

    >>> import ranvier as rv
    >>> boxes = rv.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]])
    >>> rv.data.vision.ops.batched_nms(boxes, rv.tensor([0.5, 0.9]), rv.tensor([0, 1]), 0.5)
    tensor([1, 0])
    """
    boxes = _boxes("batched_nms", boxes)
    scores, idxs = as_tensor("batched_nms", scores), as_tensor("batched_nms", idxs)
    classes, kept = idxs._read("batched_nms"), []
    for value in np.unique(classes):
        places = np.flatnonzero(classes == value)
        of_class = nms(wrap(boxes._array[places]), wrap(scores._array[places]), iou_threshold)
        kept.append(places[of_class._array])
    indices = np.sort(np.concatenate(kept)) if kept else np.zeros(0, np.int64)  # equal scores: in order
    return wrap(indices[np.argsort(-scores._array[indices], kind="stable")])


def clip_boxes_to_image(boxes: Any, size: tuple[int, int]) -> Tensor:
    """Boxes cut at the edges of an image of size (height, width).

    >>> import ranvier as rv
    >>> rv.data.vision.ops.clip_boxes_to_image(rv.tensor([[-1.0, 2.0, 9.0, 9.0]]), (4, 5))
    tensor([[0., 2., 5., 4.]])
    """
    x1, y1, x2, y2 = _parts(_boxes("clip_boxes_to_image", boxes))
    height, width = size
    x1, x2 = ops.clamp(x1, 0, width), ops.clamp(x2, 0, width)
    return ops.stack((x1, ops.clamp(y1, 0, height), x2, ops.clamp(y2, 0, height)), -1)


def remove_small_boxes(boxes: Any, min_size: float) -> Tensor:
    """The indices of the boxes (N, 4) with both sides at least min_size.

    >>> import ranvier as rv
    >>> rv.data.vision.ops.remove_small_boxes(rv.tensor([[0.0, 0.0, 1.0, 9.0], [0.0, 0.0, 4.0, 4.0]]), 2.0)
    tensor([1])
    """
    boxes = _boxes("remove_small_boxes", boxes)
    corners = boxes._read("remove_small_boxes")
    sides = corners[:, 2:] - corners[:, :2]
    return wrap(np.flatnonzero((sides >= min_size).all(-1)).astype(np.int64))
