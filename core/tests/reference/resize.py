"""Reference numbers of the test of `resize_matrix` (core/src/nn/resize.rs).

    pip install torch scipy
    python core/tests/reference/resize.py
"""

import scipy.ndimage
import torch
import torch.nn.functional as F

LINE = torch.tensor([0.5, -1.25, 2.0, 0.75, -0.5])


def bicubic(size, antialias):
    image = LINE.reshape(1, 1, 5, 1).expand(1, 1, 5, 5).contiguous()
    return F.interpolate(image, size=(size, 5), mode="bicubic", align_corners=False, antialias=antialias)[0, 0, :, 0].tolist()


for size in (3, 8):
    print("BicubicAntialias", size, bicubic(size, True))
    print("Bicubic", size, bicubic(size, False))
    print("Linear", size, scipy.ndimage.zoom(LINE.numpy().astype(float), size / 5, order=1).tolist())
