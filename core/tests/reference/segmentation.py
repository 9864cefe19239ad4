"""What independent readers say of the segmentation objects among the shared test data; core/tests/segmentation.rs expects it.

    pip install pydicom numpy
    python core/tests/reference/segmentation.py ../shared/data/dicom > core/tests/reference/segmentation.json
"""
import json
import sys
import zlib
from pathlib import Path

import numpy as np
import pydicom
from pydicom.encaps import generate_frames

root = Path(sys.argv[1])
table = {}
for path in sorted(root.rglob("*.dcm")):
    try:
        d = pydicom.dcmread(path)
        uid = d.SOPClassUID.rsplit(".", 2)[-2:]
    except Exception:
        continue
    if uid not in (["66", "4"], ["66", "7"]):
        continue
    if d.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.8.1":  # deflated image frames, which pydicom leaves to us
        kind = np.uint8 if d.BitsAllocated == 8 else np.uint16
        raw = [zlib.decompress(f, -15) for f in generate_frames(d.PixelData, number_of_frames=d.NumberOfFrames)]
        size = d.Rows * d.Columns
        if d.BitsAllocated == 1:
            bits = [np.unpackbits(np.frombuffer(f, np.uint8), bitorder="little")[:size] for f in raw]
            frames = np.stack(bits).reshape(-1, d.Rows, d.Columns)
        else:
            frames = np.stack([np.frombuffer(f, kind, size) for f in raw]).reshape(-1, d.Rows, d.Columns)
    else:
        try:
            frames = d.pixel_array
        except Exception as error:
            print(f"left out, pydicom does not decode it: {path.name}: {error}", file=sys.stderr)
            continue
    if frames.ndim == 2:
        frames = frames[None]
    shared = d.SharedFunctionalGroupsSequence[0]
    rows = {}
    for s in d.SegmentSequence:
        if s.SegmentNumber > 0:
            rows[int(s.SegmentNumber)] = {"label": str(s.SegmentLabel), "sum": 0, "planes": 0}
    for index, frame in enumerate(frames):
        if uid[1] == "7":
            parts = [(n, frame == n) for n in rows]
        elif d.get("DimensionOrganizationType") == "TILED_FULL":
            tiles = len(frames) // len(rows)
            parts = [(list(rows)[index // tiles], frame)]
        else:
            groups = d.PerFrameFunctionalGroupsSequence[index]
            item = groups if "SegmentIdentificationSequence" in groups else shared
            parts = [(int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber), frame)]
        for number, values in parts:
            rows[number]["sum"] += int(values.sum())
            rows[number]["planes"] += int(values.any())
    table[str(path.relative_to(root))] = {
        "type": str(d.SegmentationType),
        "rows": int(d.Rows),
        "columns": int(d.Columns),
        "segments": rows,
    }
json.dump(table, sys.stdout, indent=1)
print()
