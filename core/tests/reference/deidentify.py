"""Checks de-identified copies with independent programs: what pydicom reads, and what the list of PS3.15 Table E.1-1 in the package
dicom-anonymizer says must go. Prints what it finds wrong, then a summary; exit code 1 where something is wrong.

    pip install pydicom dicom-anonymizer
    bifocal deidentify ../shared/data/dicom --out COPIES --key correct-horse
    python core/tests/reference/deidentify.py ../shared/data/dicom COPIES
"""
import hashlib
import sys
from pathlib import Path

import pydicom
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2024b as table
from pydicom.datadict import dictionary_VR

originals, copies = Path(sys.argv[1]), Path(sys.argv[2])
PIXELS = [0x7FE00010, 0x7FE00008, 0x7FE00009]


def pixels(d):
    tag = next(t for t in PIXELS if t in d)
    return hashlib.sha256(d[tag].value).hexdigest()


def walk(d, depth=0):
    for e in d:
        yield e, depth
        if e.VR == "SQ":
            for item in e.value:
                yield from walk(item, depth + 1)


by_pixels = {}
for path in originals.rglob("*"):
    if path.is_file():
        try:
            d = pydicom.dcmread(path, force=True)
            by_pixels.setdefault(pixels(d), []).append((path, d))
        except Exception:
            continue
must_go = {t for t in table.X_TAGS if len(t) == 2}
# What may stay must stay without its value: empty, or a dummy.
must_change = {t for name in dir(table) if name.endswith("_TAGS") and name[0] in "XZDU" for t in getattr(table, name) if len(t) == 2}
must_change -= must_go
wrong, count, unmatched, attributes = 0, 0, 0, 0


def complain(path, what):
    global wrong
    wrong += 1
    print(f"{path}: {what}")


for path in sorted(copies.rglob("*.dcm")):
    count += 1
    d = pydicom.dcmread(path)
    if pixels(d) not in by_pixels:
        unmatched += 1
        print(f"{path}: no original has these pixel data (deflated, or cut?)")
        continue
    same = by_pixels[pixels(d)]
    names = set()
    for _, original in same:
        for e, _ in walk(original):
            if e.VR in ("PN", "LO", "SH", "LT", "ST", "UT") and e.tag.group in (0x8, 0x10, 0x32, 0x38, 0x40):
                if e.tag.element in (0x70, 0x1090, 0x100, 0x102, 0x104, 0x103) and e.tag.group == 8:
                    continue
                names.update(str(v) for v in ([e.value] if isinstance(e.value, str) else e.value or []) if len(str(v)) > 5)
    for e, depth in walk(d):
        attributes += 1
        if e.tag.is_private:
            complain(path, f"private {e.tag}")
        if (e.tag.group, e.tag.element) in must_go and e.tag not in (0x00280303,):
            complain(path, f"{e.tag} {e.name} must go")
        if (e.tag.group, e.tag.element) in must_change and depth == 0 and e.VR != "SQ" and e.value:
            if any(e.tag in o and o[e.tag].value == e.value for _, o in same):
                complain(path, f"{e.tag} {e.name} is as it was")
        if e.VR == "PN" and str(e.value) and not str(e.value).startswith("P"):
            complain(path, f"{e.tag} {e.name} holds {e.value}")
        if e.VR == "UI" and e.value and e.keyword != "TransferSyntaxUID":
            for uid in [e.value] if isinstance(e.value, str) else e.value:
                if not uid.startswith(("1.2.840.10008.", "2.25.")):
                    complain(path, f"{e.tag} {e.name} keeps {uid}")
        if e.VR in ("DA", "DT") and e.value and not str(e.value).startswith("1900"):
            complain(path, f"{e.tag} {e.name} keeps {e.value}")
        if e.VR in ("LO", "SH", "LT", "ST", "UT", "UC") and e.value:
            for value in [e.value] if isinstance(e.value, str) else e.value:
                if str(value) in names and e.keyword not in ("CodeMeaning", "SoftwareVersions", "LUTLabel"):
                    complain(path, f"{e.tag} {e.name} holds {value!r}, which named something in the original")
    for keyword in ("PatientIdentityRemoved", "DeidentificationMethod", "PatientName", "PatientID"):
        if not d.get(keyword):
            complain(path, f"{keyword} is missing")
print(f"{count} copies, {attributes} attributes, {unmatched} without an original of the same pixel data, {wrong} wrong")
sys.exit(wrong > 0)
