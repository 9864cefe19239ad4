"""Average precision of boxes at an overlap of one half by pycocotools: what core/src/evaluate compares with.

    pip install pycocotools numpy
    python core/tests/reference/average_precision.py     # writes average_precision.json beside this file
"""

import contextlib
import io
import json
import pathlib

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

random = np.random.default_rng(5)


def box(low, high):
    x, y = random.integers(0, 60, 2)
    w, h = random.integers(low, high, 2)
    return [int(x), int(y), int(w), int(h)]


def moved(of, by):
    x, y, w, h = of
    dx, dy, dw, dh = random.integers(-by, by + 1, 4)
    return [max(0, int(x + dx)), max(0, int(y + dy)), max(2, int(w + dw)), max(2, int(h + dh))]


def case(images, by, extra):
    truth, found = [], []
    for image in range(images):
        lesions = [box(8, 30) for _ in range(int(random.integers(0, 4)))]
        boxes = [(moved(lesion, by), round(float(random.random()), 4)) for lesion in lesions if random.random() < 0.85]
        # Found twice, and found where nothing is.
        boxes += [(moved(lesion, 2), round(float(random.random()), 4)) for lesion in lesions if random.random() < 0.3]
        boxes += [(box(6, 25), round(float(random.random()), 4)) for _ in range(int(random.integers(0, extra + 1)))]
        truth.append(lesions)
        found.append(boxes)
    coco = COCO()
    annotations = [
        {"id": n + 1, "image_id": i + 1, "category_id": 1, "bbox": b, "area": b[2] * b[3], "iscrowd": 0}
        for n, (i, b) in enumerate((i, b) for i, bs in enumerate(truth) for b in bs)
    ]
    coco.dataset = {"images": [{"id": i + 1} for i in range(images)], "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}
    results = [{"image_id": i + 1, "category_id": 1, "bbox": b, "score": s} for i, bs in enumerate(found) for b, s in bs]
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {"truth": truth, "found": found, "ap50": float(evaluation.stats[1])}


cases = [case(30, 3, 2), case(12, 6, 4), case(20, 1, 0), case(8, 9, 6)]
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps({"cases": cases}) + "\n")
print([round(c["ap50"], 4) for c in cases])
