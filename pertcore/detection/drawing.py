"""Pictures with their boxes, before and after side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pertcore.detection.boxes import Detections
from pertcore.oracle import Array

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


def drawn(picture: Array, found: Detections, names: Sequence[str] = ()) -> Any:
    """A PIL image of the picture (3, h, w), RGB in [0, 1], with its boxes, classes and scores."""
    from PIL import Image, ImageDraw

    levels = np.round(np.clip(np.moveaxis(picture, 0, -1), 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(levels)
    pen = ImageDraw.Draw(image)
    size = np.array([image.width, image.height] * 2)
    for box, score, kind in zip(found.boxes, found.scores, found.classes, strict=True):
        corners = np.clip(box * size, 0, size - 1)
        if np.any(corners[2:] < corners[:2]):
            continue
        colour = COLOURS[int(kind) % len(COLOURS)]
        named = names[int(kind)] if len(names) > kind else str(kind)
        pen.rectangle(corners.tolist(), outline=colour, width=2)
        pen.text((corners[0] + 3, corners[1] + 1), f"{named} {score:.2f}", fill=colour)
    return image


def side_by_side(images: Sequence[Any], gap: int = 8) -> Any:
    """PIL images of one height as one, left to right."""
    from PIL import Image

    width = sum(image.width for image in images) + gap * (len(images) - 1)
    whole = Image.new("RGB", (width, max(image.height for image in images)), "white")
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width + gap
    return whole
