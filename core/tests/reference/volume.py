#!/usr/bin/env python3
"""Planes and slabs out of real series, computed with pydicom, NumPy and SimpleITK, for core/tests/volume.rs.

    pip install pydicom SimpleITK
    python3 core/tests/reference/volume.py FOLDER_OF_DICOM_FILES > core/tests/reference/volume.json

The decubitus series goes through SimpleITK alone: its series reader, its geometry, its linear interpolator at physical points. The
tilted series, which no ITK image can hold, goes through the equations of PS3.3 C.7.6.2.1.1 slice by slice: pydicom reads
positions, NumPy solves for slice, row and column, SimpleITK interpolates in the array.
"""
import glob
import json
import math
import sys

import numpy as np
import pydicom
import SimpleITK as sitk

ROOT = sys.argv[1]


def rotation(axis, degrees):
    axis = np.array(axis, float) / np.linalg.norm(axis)
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    a = math.radians(degrees)
    return np.eye(3) + math.sin(a) * k + (1 - math.cos(a)) * k @ k


class Decubitus:
    folder = "neurolabusc+dcm_qa_decubitus/In/HFDL/2_t1_fl2d_sag"

    def __init__(self):
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(f"{ROOT}/{self.folder}")
        image = sitk.ReadImage(names, sitk.sitkFloat64)
        self.image = image
        size = np.array(image.GetSize(), float)
        self.center = np.array(image.TransformContinuousIndexToPhysicalPoint((size / 2 - 0.5).tolist()))
        directions = np.array(image.GetDirection()).reshape(3, 3)
        self.axes, self.spacing = directions, np.array(image.GetSpacing())

    def value(self, point):
        index = self.image.TransformPhysicalPointToContinuousIndex(point.tolist())
        if any(i < -0.5 or i > n - 0.5 for i, n in zip(index, self.image.GetSize())):
            return math.nan
        return self.image.EvaluateAtPhysicalPoint(point.tolist(), sitk.sitkLinear)

    def voxels_per_mm(self, normal):
        return np.abs(self.axes.T @ normal / self.spacing).max()


class Tilted:
    folder = "neurolabusc+dcm_qa_ct/In/GE"

    def __init__(self):
        slices = [pydicom.dcmread(f) for f in glob.glob(f"{ROOT}/{self.folder}/*.dcm")]
        orientation = np.array(slices[0].ImageOrientationPatient, float)
        row, column = orientation[:3], orientation[3:]
        normal = np.cross(row, column)
        slices.sort(key=lambda s: normal @ np.array(s.ImagePositionPatient, float))
        array = np.stack([s.pixel_array.astype(np.int32) for s in slices])
        for values in array:
            # Outside the circle of reconstruction: the lowest value that was measured in the slice.
            padding = values == slices[0].PixelPaddingValue
            if padding.any() and not padding.all():
                values[padding] = values[~padding].min()
        array = array * float(slices[0].RescaleSlope) + float(slices[0].RescaleIntercept)
        self.image = sitk.GetImageFromArray(array)
        positions = np.array([s.ImagePositionPatient for s in slices], float)
        self.origin = positions[0]
        stack = positions[-1] - positions[0]
        stack /= np.linalg.norm(stack)
        self.depths = (positions - self.origin) @ stack
        spacing = [float(x) for x in slices[0].PixelSpacing]
        self.matrix = np.column_stack([stack, column * spacing[0], row * spacing[1]])
        self.shape = array.shape
        last = self.depths[-1]
        self.center = self.origin + self.matrix @ [last / 2, (array.shape[1] - 1) / 2, (array.shape[2] - 1) / 2]

    def value(self, point):
        depth, r, c = np.linalg.solve(self.matrix, point - self.origin)
        first, last = self.depths[1] - self.depths[0], self.depths[-1] - self.depths[-2]
        inside = -0.5 * first <= depth <= self.depths[-1] + 0.5 * last
        inside &= -0.5 <= r <= self.shape[1] - 0.5 and -0.5 <= c <= self.shape[2] - 0.5
        if not inside:
            return math.nan
        k = np.interp(depth, self.depths, np.arange(len(self.depths)))
        index = [min(max(i, 0.0), n - 1.0) for i, n in zip((c, r, k), self.image.GetSize())]
        return self.image.EvaluateAtContinuousIndex(index, sitk.sitkLinear)

    def voxels_per_mm(self, normal):
        depth, r, c = np.linalg.solve(self.matrix, normal)
        usual = np.sort(np.diff(self.depths))[(len(self.depths) - 1) // 2]
        return max(abs(depth) / usual, abs(r), abs(c))


def sample(series, origin, row, column, spacing, size, thickness, projection):
    normal = np.cross(row, column)
    steps = max(1, math.ceil(thickness * series.voxels_per_mm(normal) - 1e-6))
    offsets = [0.0] if thickness == 0 else [thickness * (i / steps - 0.5) for i in range(steps + 1)]
    weights = np.array([1.0] if thickness == 0 else [0.5] + [1.0] * (steps - 1) + [0.5])
    out = []
    for r in range(size):
        for c in range(size):
            point = origin + (column * r + row * c) * spacing
            values = np.array([series.value(point + normal * offset) for offset in offsets])
            there = ~np.isnan(values)
            if not there.any():
                out.append(None)
            elif projection == "mip":
                out.append(round(float(values[there].max()), 4))
            elif projection == "minip":
                out.append(round(float(values[there].min()), 4))
            else:
                out.append(round(float((values * weights)[there].sum() / weights[there].sum()), 4))
    return out


PLANES = {
    "axial": ([1, 0, 0], [0, 1, 0]),
    "coronal": ([1, 0, 0], [0, 0, -1]),
    "sagittal": ([0, 1, 0], [0, 0, -1]),
}


def main():
    cases = []
    for series in (Tilted(), Decubitus()):
        for plane, (row, column) in PLANES.items():
            for degrees in (0, 33):
                turn = rotation([0.48, 0.6, 0.64], degrees)
                row_, column_ = turn @ np.array(row, float), turn @ np.array(column, float)
                for thickness, projection in ((0, "mip"), (9.5, "mip"), (9.5, "minip"), (9.5, "mean")):
                    # The rectangle reaches beyond the volume in every direction.
                    size, spacing = 14, 21.3
                    origin = series.center + [1.7, -2.3, 3.1] - (row_ + column_) * spacing * (size - 1) / 2
                    cases.append({
                        "folder": series.folder,
                        "plane": f"{plane} turned by {degrees}",
                        "origin": origin.tolist(), "row": row_.tolist(), "column": column_.tolist(),
                        "spacing": spacing, "size": size, "thickness": thickness, "projection": projection,
                        "values": sample(series, origin, row_, column_, spacing, size, thickness, projection),
                    })
    json.dump(cases, sys.stdout, separators=(",", ":"))


main()
