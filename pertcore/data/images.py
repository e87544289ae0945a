"""Image files as samples: opened one by one, all of one size, channels first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pertcore.data.inputs import Inputs
from pertcore.data.shapes import Shape, fitted
from pertcore.data.stored import matching
from pertcore.errors import InputError
from pertcore.oracle import Array

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
GREY = ("1", "L", "LA", "I;16", "I")


def read_images(
    text: str,
    *,
    scale: float | None,
    limit: int | None,
    shape: Shape | None,
    layout: str,
    dtype: Any,
) -> Inputs:
    """Samples from an image, a folder of images (sorted by name) or a glob.

    Values are divided by the largest the format can hold (255, or 65535 for 16-bit grey) unless
    `scale` multiplies the stored values. Grey images are repeated for a model of three channels;
    colour is never turned into grey. Raises InputError for sizes that differ and broken files.
    """
    found = _files(text)
    files = found if limit is None else found[:limit]
    headers = [_header(path) for path in files]
    depth, size = _common(text, files, headers)
    channels = _channels(files, headers, shape)
    # Pillow always hands out channels last, so the flag says nothing new about an image
    del layout
    kept = "nchw" if shape is not None and _channels_last(shape, channels) else "nhwc"
    stored = (size[1], size[0], channels)
    arrange = fitted(stored, shape, kept, f"--inputs {text}", len(files))
    factor = np.float64(1 / depth if scale is None else scale)

    def read(start: int, stop: int) -> Array:
        pixels = [_pixels(path, channels) for path in files[start:stop]]
        block = np.stack(pixels) if pixels else np.empty((0, *stored))
        return np.ascontiguousarray(arrange(block * factor), dtype=dtype)

    ends = sorted([0.0, float(depth * factor)])
    return Inputs(
        text,
        arrange(np.empty((1, *stored))).shape[1:],
        len(files),
        len(found),
        read,
        (ends[0], 0),
        (ends[1], 0),
        tuple(files),
        tuple(path.name for path in files),
    )


def _files(text: str) -> list[Path]:
    path = Path(text)
    if path.is_file():
        return [path]
    candidates = path.iterdir() if path.is_dir() else matching(text)
    files = sorted(p for p in candidates if p.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError(f"--inputs {text}: an empty data set: no images ({', '.join(SUFFIXES)})")
    return files


def _header(path: Path) -> tuple[str, tuple[int, int]]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return image.mode, image.size
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise InputError(
            f"--inputs {path}: not a readable image ({type(error).__name__})"
        ) from None


def _common(
    text: str, files: list[Path], headers: list[tuple[str, tuple[int, int]]]
) -> tuple[int, tuple[int, int]]:
    """Largest stored value and (width, height), the same for all."""
    depth, size = _depth(headers[0][0]), headers[0][1]
    for path, (mode, here) in zip(files, headers, strict=True):
        if here != size:
            raise InputError(
                f"--inputs {text}: {path.name} is {here[0]} x {here[1]} pixels, {files[0].name} "
                f"is {size[0]} x {size[1]}: resize them to one size first"
            )
        if _depth(mode) != depth:
            raise InputError(
                f"--inputs {text}: {path.name} and {files[0].name} differ in bit depth"
            )
    return depth, size


def _depth(mode: str) -> int:
    return 65535 if mode.startswith("I") else 255


def _channels_last(shape: Shape, channels: int) -> bool:
    return len(shape) == 3 and shape[-1] == channels and shape[0] != channels


def _channels(
    files: list[Path], headers: list[tuple[str, tuple[int, int]]], shape: Shape | None
) -> int:
    colour = [p for p, (mode, _) in zip(files, headers, strict=True) if mode not in GREY]
    takes_grey = shape is not None and (len(shape) < 3 or (len(shape) == 3 and 1 in shape))
    if colour and takes_grey:
        raise InputError(
            f"--inputs {colour[0]}: a colour image, the model takes one channel: convert the "
            "images to grey first"
        )
    if shape is not None and len(shape) == 3 and 3 in (shape[0], shape[-1]):
        return 3
    return 3 if colour else 1


def _pixels(path: Path, channels: int) -> Array:
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):
                grey = np.asarray(image)[..., None]
                return np.repeat(grey, channels, axis=2)
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"--inputs {path}: broken image file ({error})") from None
    return pixels[..., None] if channels == 1 else pixels
