#!/usr/bin/env python3
"""Reference values for core/tests/measure.rs, by pydicom and numpy alone.

    python core/tests/reference/measure.py FOLDER > core/tests/reference/measure.json

FOLDER holds the public test files named below. Points are (row, column); the centre of the first pixel is (0, 0). Regions hold
the pixels whose centres lie inside (even-odd rule, the ellipse's equation); standard deviations are numpy's (divided by n).
"""
import json
import sys

import numpy as np
import pydicom

CASES = [  # file, frame
    ("pydicom+pydicom/src/pydicom/data/test_files/dicomdirtests/98892001/CT2N/6293", 0),  # rows and columns differ
    ("pydicom+pydicom/src/pydicom/data/test_files/dicomdirtests/98892003/MR700/4588", 0),  # oblique to all axes
    ("neurolabusc+dcm_qa_ct/In/GE/10.dcm", 0),  # tilted gantry
    ("ImagingDataCommons+highdicom/data/test_files/dx_image.dcm", 0),  # projection, rows and columns differ
    ("neurolabusc+dcm_qa_enh/In/Siemens/XA10/6_1.dcm", 3),  # enhanced: place and spacing by frame
]


def unit(orientation):
    """Directions of exactly unit length: files round them, and the spacing is what says how far pixels are apart."""
    pair = np.array(orientation, float).reshape(2, 3)
    return (pair / np.linalg.norm(pair, axis=1)[:, None]).reshape(6)


def geometry(ds, frame):
    if "PerFrameFunctionalGroupsSequence" in ds:
        own, shared = ds.PerFrameFunctionalGroupsSequence[frame], ds.SharedFunctionalGroupsSequence[0]
        pick = lambda name: (own if name in own else shared)[name][0]
        return (
            np.array(pick("PixelMeasuresSequence").PixelSpacing, float),
            np.array(pick("PlanePositionSequence").ImagePositionPatient, float),
            unit(pick("PlaneOrientationSequence").ImageOrientationPatient),
        )
    spacing = np.array(ds.get("PixelSpacing", ds.get("ImagerPixelSpacing")), float)
    if "ImagePositionPatient" not in ds:
        return spacing, None, None
    return spacing, np.array(ds.ImagePositionPatient, float), unit(ds.ImageOrientationPatient)


def values(ds, frame):
    array = ds.pixel_array if ds.pixel_array.ndim == 2 else ds.pixel_array[frame]
    place = ds
    if "PerFrameFunctionalGroupsSequence" in ds:
        for group in (ds.PerFrameFunctionalGroupsSequence[frame], ds.SharedFunctionalGroupsSequence[0]):
            if "PixelValueTransformationSequence" in group:
                place = group.PixelValueTransformationSequence[0]
                break
    return array.astype(float) * float(place.get("RescaleSlope", 1)) + float(place.get("RescaleIntercept", 0))


def inside_polygon(shape, vertices):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    inside = np.zeros(shape, bool)
    for (r0, c0), (r1, c1) in zip(vertices, vertices[1:] + vertices[:1]):
        with np.errstate(divide="ignore", invalid="ignore"):
            crosses = ((r0 > rows) != (r1 > rows)) & (columns < (c1 - c0) * (rows - r0) / (r1 - r0) + c0)
        inside ^= crosses
    return inside


def bilinear(image, row, column):
    r, c = int(np.floor(row)), int(np.floor(column))
    fr, fc = row - r, column - c
    r1, c1 = min(r + 1, image.shape[0] - 1), min(c + 1, image.shape[1] - 1)
    top = image[r, c] * (1 - fc) + image[r, c1] * fc
    bottom = image[r1, c] * (1 - fc) + image[r1, c1] * fc
    return top * (1 - fr) + bottom * fr


def summary(picked):
    return {
        "count": int(picked.size),
        "mean": float(picked.mean()),
        "sd": float(picked.std()),
        "min": float(picked.min()),
        "median": float(np.median(picked)),
        "max": float(picked.max()),
    }


def case(folder, path, frame):
    ds = pydicom.dcmread(f"{folder}/{path}", force=True)
    image = values(ds, frame)
    spacing, position, orientation = geometry(ds, frame)
    at = lambda y, x: (y * (image.shape[0] - 1), x * (image.shape[1] - 1))
    points = [at(0.213, 0.187), at(0.731, 0.264), at(0.688, 0.817), at(0.307, 0.743)]

    def mm(point):
        row, column = point
        if position is None:
            return np.array([column * spacing[1], row * spacing[0], 0.0])
        return position + orientation[:3] * column * spacing[1] + orientation[3:] * row * spacing[0]

    p = [mm(point) for point in points]
    edges = [p[(i + 1) % 4] - p[i] for i in range(4)]
    triangles = sum(np.cross(p[i] - p[0], p[i + 1] - p[0]) for i in range(1, 3))
    angle = lambda u, v: float(np.degrees(np.arccos(np.dot(u, v) / np.linalg.norm(u) / np.linalg.norm(v))))
    centre, half = at(0.52, 0.48), ((image.shape[0] - 1) * 0.271, (image.shape[1] - 1) * 0.233)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    oval = ((rows - centre[0]) / half[0]) ** 2 + ((columns - centre[1]) / half[1]) ** 2 < 1
    polygon = inside_polygon(image.shape, points)
    steps = int(np.ceil(np.hypot(points[2][0] - points[0][0], points[2][1] - points[0][1])))
    share = np.arange(steps + 1) / steps
    line = [bilinear(image, *(np.array(points[0]) + (np.array(points[2]) - np.array(points[0])) * s)) for s in share]
    cobb = angle(edges[0], edges[2])
    return {
        "path": path,
        "frame": frame,
        "points": points,
        "patient": None if position is None else [list(map(float, point)) for point in p],
        "length": float(np.linalg.norm(p[2] - p[0])),
        "angle": angle(p[0] - p[1], p[2] - p[1]),
        "cobb": min(cobb, 180 - cobb),
        "area": float(np.linalg.norm(triangles) / 2),
        "perimeter": float(sum(np.linalg.norm(edge) for edge in edges)),
        "polygon": summary(image[polygon]),
        "ellipse": {
            "centre": centre,
            "half": half,
            "area": float(np.pi * half[0] * half[1] * spacing[0] * spacing[1]),
            **summary(image[oval]),
        },
        "profile": {"steps": steps, "mean": float(np.mean(line)), "first": float(line[0]), "last": float(line[-1])},
    }


json.dump([case(sys.argv[1], path, frame) for path, frame in CASES], sys.stdout, indent=1)
print()
