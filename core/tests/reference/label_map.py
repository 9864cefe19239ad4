"""NIfTI label maps against pydicom, nibabel and SimpleITK: a map whose affine pydicom's attributes give, imported and exported again.

    cargo build --release
    pip install nibabel pydicom numpy SimpleITK
    python core/tests/reference/label_map.py FOLDER [FOLDER...]     # each with one evenly spaced series of single-frame images

The map is written by nibabel, with its axes in two orders, and must come back with the same affine and the same voxels, and
SimpleITK must see its corners where nibabel does.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy
import pydicom
import SimpleITK

PROGRAM = pathlib.Path(__file__).resolve().parents[3] / "target/release/bifocal"


def series_affine(folder):
    """Affine (RAS) from voxel (column, row, slice), and the shape, by the equations of PS3.3 C.7.6.2.1.1."""
    files = [pydicom.dcmread(file, stop_before_pixels=True) for file in sorted(folder.rglob("*")) if file.is_file() and pydicom.misc.is_dicom(file)]
    rows, columns = numpy.array(files[0].ImageOrientationPatient[3:], float), numpy.array(files[0].ImageOrientationPatient[:3], float)
    normal = numpy.cross(columns, rows)
    positions = sorted((numpy.array(file.ImagePositionPatient, float) for file in files), key=lambda p: p @ normal)
    affine = numpy.eye(4)
    affine[:3, 0] = columns * float(files[0].PixelSpacing[1])
    affine[:3, 1] = rows * float(files[0].PixelSpacing[0])
    affine[:3, 2] = (positions[-1] - positions[0]) / (len(positions) - 1)
    affine[:3, 3] = positions[0]
    return numpy.diag([-1, -1, 1, 1]) @ affine, (int(files[0].Columns), int(files[0].Rows), len(files))


def run(*arguments):
    return subprocess.run([str(PROGRAM), *map(str, arguments)], check=True, capture_output=True, text=True).stdout.strip()


def check(source):
    affine, shape = series_affine(source)
    generator = numpy.random.default_rng(0)
    labels = (generator.random(shape) < 0.01) * generator.integers(1, 4, shape)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        run("project", "create", folder / "project", "--name", "check", "--source", source.resolve())
        for reader, orientation in [("straight", None), ("turned", "PIR")]:
            image = nibabel.Nifti1Image(labels.astype(numpy.int16), affine)
            if orientation:
                target = nibabel.orientations.axcodes2ornt(orientation)
                image = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), target))
            file = folder / f"{reader}.nii.gz"
            nibabel.save(image, file)
            file.with_suffix("").with_suffix(".json").write_text(
                json.dumps({"labels": [{"value": value, "name": name} for value, name in [(1, "Nodule"), (2, "Effusion"), (3, "Mass")]]})
            )
            print(source.name, reader, run("import", folder / "project", file, "--reader", reader))
            run("export", folder / "project", "--reader", reader, "--format", "nifti", "--out", folder / f"{reader}-out")
            (back,) = (folder / f"{reader}-out").glob("*.nii.gz")
            sidecar = json.loads(back.with_suffix("").with_suffix(".json").read_text())
            names = {entry["value"]: entry["name"] for entry in sidecar["labels"]}
            seen = SimpleITK.ReadImage(str(back))
            back = nibabel.load(back)
            numbers = {name: value for value, name in names.items()}
            expected = numpy.select([labels == 1, labels == 2, labels == 3], [numbers["Nodule"], numbers["Effusion"], numbers["Mass"]], 0)
            difference = numpy.abs(back.affine - affine).max()
            assert back.shape == shape and difference < 1e-3, (back.shape, shape, back.affine, affine)
            assert (numpy.asarray(back.dataobj) == expected).all()
            corner = numpy.array(shape) - 1
            in_itk = numpy.array(seen.TransformIndexToPhysicalPoint([int(n) for n in corner])) * [-1, -1, 1]
            assert numpy.abs(in_itk - (affine @ [*corner, 1])[:3]).max() < 1e-2, (in_itk, affine @ [*corner, 1])
            print(f"  the same {(labels > 0).sum()} voxels; affines differ by {difference:.1e} mm at most")


for argument in sys.argv[1:]:
    check(pathlib.Path(argument))
