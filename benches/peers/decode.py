"""Decoding in Bifocal and in pydicom with its plugins (GDCM where it is installed): same files, one thread, alternating in one run.

    cargo build --release
    pip install pydicom numpy python-gdcm pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg
    python benches/peers/decode.py FOLDER [--rounds 5]

Reads and decodes up to 32 frames of every file under FOLDER that both decode; prints the time of each transfer syntax, medians over the rounds, and the
ratio. pydicom takes the first of its plugins that can, in its own order.
"""

import argparse
import collections
import json
import pathlib
import statistics
import subprocess
import time
import warnings

import pydicom
from pydicom.pixels import iter_pixels

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target/release/bifocal"


def bifocal(folder):
    lines = subprocess.run([PROGRAM, "bench", "decode", folder, "--runs", "1", "--json"], check=True, capture_output=True, text=True)
    return {row["file"]: row for row in map(json.loads, lines.stdout.splitlines())}


def decode(file, frames):
    """Milliseconds; None where pydicom cannot."""
    start = time.perf_counter()
    try:
        data = pydicom.dcmread(file)
        for _ in iter_pixels(data, indices=range(frames), raw=True):
            pass
    except Exception:  # noqa: BLE001: whatever a plugin raises, the file is not compared
        return None
    return (time.perf_counter() - start) * 1e3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    ours, theirs = collections.defaultdict(list), collections.defaultdict(list)
    rows = bifocal(args.folder)
    usable = {file for file, row in rows.items() if decode(file, row["frames"]) is not None}
    for _ in range(args.rounds):
        for file, row in bifocal(args.folder).items():
            ours[file].append(row["ms"])
        for file in usable:
            theirs[file].append(decode(file, rows[file]["frames"]))
    table = collections.defaultdict(lambda: [0, 0.0, 0.0, 0.0])
    for file in usable:
        entry = table[rows[file]["transfer_syntax"]]
        entry[0] += 1
        entry[1] += rows[file]["megapixels"]
        entry[2] += statistics.median(ours[file])
        entry[3] += statistics.median(theirs[file])
    print(f"pydicom {pydicom.__version__}; {len(usable)} of {len(rows)} files; ms, and the ratio Bifocal / pydicom")
    for syntax, (files, megapixels, a, b) in sorted(table.items()):
        name = pydicom.uid.UID(syntax).name
        print(f"{name:<60} {files:>4} files {megapixels:>7.1f} MP {a:>9.1f} {b:>9.1f}   {a / b:.2f}")


if __name__ == "__main__":
    main()
