"""Pictures with labelled boxes in the XML of PASCAL VOC, brought to one size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from pertcore.errors import InputError
from pertcore.oracle import Array

SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Scenes:
    """n labelled pictures.

    pictures (n, 3, h, w) float32 RGB in [0, 1]; boxes[i] (m, 4) float64 left, top, right, bottom
    as shares of the picture's sides; labels[i] the m names of what is in them; names: file names.
    """

    pictures: Array
    boxes: tuple[Array, ...]
    labels: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


def read_voc(folder: str | Path, size: tuple[int, int], *, limit: int | None = None) -> Scenes:
    """Every .xml of the folder, by name, with its picture resized to size = (h, w).

    The .xml lie beside their pictures or, as VOC comes, in Annotations/ beside JPEGImages/. Sides
    are stretched, as detectors of a fixed input do; boxes are shares of them, so they hold for any
    size. Raises InputError for a missing folder or picture and for broken XML.
    """
    place = Path(folder)
    parted = (place / "Annotations").is_dir()
    beside, marked = (place / "JPEGImages", place / "Annotations") if parted else (place, place)
    files = sorted(marked.glob("*.xml"))[:limit]
    if not files:
        raise InputError(f"{folder}: no .xml of PASCAL VOC in this folder")
    read = [_annotation(path) for path in files]
    pictures = np.stack([_picture(beside / name, size) for name, _, _ in read])
    names, boxes, labels = zip(*read, strict=True)
    return Scenes(pictures, boxes, labels, names)


def _annotation(path: Path) -> tuple[str, Array, tuple[str, ...]]:
    """Name of the picture, boxes as shares (VOC counts pixels from 1, both ends in), classes."""
    try:
        root = ElementTree.parse(path).getroot()
        width, height = (float(_text(root, f"size/{side}")) for side in ("width", "height"))
        found = root.findall("object")
        corners = [[float(_text(thing, f"bndbox/{side}")) for side in SIDES] for thing in found]
        labels = tuple(_text(thing, "name") for thing in found)
        name = _text(root, "filename")
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"{path}: not an annotation of PASCAL VOC ({error})") from None
    if not (width > 0 and height > 0) or Path(name).name != name:
        raise InputError(f"{path}: picture {name!r} of {width:g} x {height:g}: broken annotation")
    boxes = np.array(corners, dtype=np.float64).reshape(-1, 4) - [1, 1, 0, 0]
    return name, boxes / [width, height, width, height], labels


def _text(element: ElementTree.Element, path: str) -> str:
    text = element.findtext(path)
    if text is None:
        raise ValueError(f"no {path}")
    return text.strip()


def _picture(path: Path, size: tuple[int, int]) -> Array:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            resized = image.convert("RGB").resize((size[1], size[0]), Image.Resampling.BILINEAR)
            pixels = np.asarray(resized, dtype=np.float32) / np.float32(255)
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path}: not a readable picture ({error})") from None
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
