"""Regions, suppression and box coding of torchvision.ops: what core/tests/detection.rs compares with.

    pip install torch torchvision
    python core/tests/reference/detection.py     # writes detection.json beside this file
"""

import json
import pathlib

import torch
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import batched_nms, box_iou, clip_boxes_to_image, nms, roi_align

generator = torch.Generator().manual_seed(11)


def rounded(tensor, digits=5):
    return [round(value, digits) for value in tensor.flatten().tolist()]


def boxes(count, field, smallest, largest):
    corner = torch.rand(count, 2, generator=generator) * field
    size = smallest + torch.rand(count, 2, generator=generator) * (largest - smallest)
    return torch.cat([corner, corner + size], 1).mul(8).round().div(8)


def roi_cases():
    x = (torch.rand(2, 2, 7, 9, generator=generator) * 2 - 1).mul(64).round().div(64)
    rois = torch.cat([torch.tensor([[0.0], [1], [0], [1], [1]]), boxes(5, 40, 2, 40)], 1)
    # Beyond the map on all sides, and smaller than a pixel of it.
    rois[3, 1:] = torch.tensor([-20.0, -30, 100, 90])
    rois[4, 1:] = torch.tensor([12.0, 9, 12.5, 9.25])
    cases = []
    for rows, columns, scale, sampling in [(3, 2, 0.125, 2), (2, 3, 0.25, 0), (7, 7, 0.125, 2), (1, 1, 0.5, 1)]:
        leaf = x.clone().requires_grad_()
        y = roi_align(leaf, rois, (rows, columns), scale, sampling or -1, aligned=True)
        weights = torch.arange(y.numel()).remainder(7).sub(3).div(4).reshape(y.shape)
        (y * weights).sum().backward()
        case = {"rows": rows, "columns": columns, "scale": scale, "sampling": sampling}
        cases.append(case | {"y": rounded(y.detach()), "gradient": rounded(leaf.grad)})
    return {"x": rounded(x), "shape": list(x.shape), "rois": rounded(rois), "cases": cases}


def nms_cases():
    all_boxes = boxes(60, 60, 8, 40)
    scores = torch.rand(60, generator=generator).mul(256).round().div(256)
    classes = torch.randint(0, 3, (60,), generator=generator)
    cases = [{"threshold": t, "kept": nms(all_boxes, scores, t).tolist(), "by_class": batched_nms(all_boxes, scores, classes, t).tolist()} for t in (0.1, 0.3, 0.7)]
    return {"boxes": rounded(all_boxes), "scores": rounded(scores), "classes": classes.tolist(), "cases": cases}


def coding():
    references, targets = boxes(8, 60, 4, 50), boxes(8, 60, 4, 50)
    weights = [10.0, 10.0, 5.0, 5.0]
    coder = BoxCoder(tuple(weights))
    deltas = (torch.rand(8, 4, generator=generator) * 8 - 4).mul(64).round().div(64)
    deltas[0, 2] = 400.0
    decoded = coder.decode_single(deltas, references)
    return {
        "weights": weights,
        "references": rounded(references),
        "targets": rounded(targets),
        "encoded": rounded(coder.encode_single(targets, references)),
        "deltas": rounded(deltas),
        "decoded": rounded(decoded),
        "clipped": rounded(clip_boxes_to_image(decoded, (64, 48))),
        "iou": rounded(box_iou(references, targets)),
    }


result = {"roi_align": roi_cases(), "nms": nms_cases(), "coding": coding()}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(result) + "\n")
