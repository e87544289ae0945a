"""Annotations of PASCAL VOC and their pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pertcore.data.voc import read_voc
from pertcore.errors import InputError

OBJECT = (
    "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>"
    "<ymax>{}</ymax></bndbox></object>"
)


def scene(folder: Path, name: str, *objects: tuple[str, int, int, int, int]) -> None:
    pixels = np.zeros((50, 100, 3), np.uint8)
    pixels[:, 50:, 0] = 255
    Image.fromarray(pixels).save(folder / f"{name}.png")
    inside = "".join(OBJECT.format(*one) for one in objects)
    size = "<size><width>100</width><height>50</height><depth>3</depth></size>"
    text = f"<annotation><filename>{name}.png</filename>{size}{inside}</annotation>"
    (folder / f"{name}.xml").write_text(text)


def test_pictures_and_boxes(tmp_path: Path) -> None:
    scene(tmp_path, "b", ("dog", 1, 1, 100, 50), ("sofa", 51, 11, 60, 20))
    scene(tmp_path, "a")
    found = read_voc(tmp_path, (20, 30))
    assert found.names == ("a.png", "b.png") and len(found) == 2
    assert found.pictures.shape == (2, 3, 20, 30) and found.pictures.dtype == np.float32
    np.testing.assert_array_equal(found.pictures[1, :, 5, 25], [1, 0, 0])
    np.testing.assert_array_equal(found.pictures[1, :, 5, 5], [0, 0, 0])
    np.testing.assert_allclose(found.boxes[1], [[0, 0, 1, 1], [0.5, 0.2, 0.6, 0.4]])
    assert found.labels == ((), ("dog", "sofa")) and found.boxes[0].shape == (0, 4)
    assert read_voc(tmp_path, (8, 8), limit=1).names == ("a.png",)


def test_what_is_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.xml"):
        read_voc(tmp_path, (8, 8))
    scene(tmp_path, "a")
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"a\.png: not a readable picture"):
        read_voc(tmp_path, (8, 8))
    for text in ("<annotation>", "<annotation/>", "<annotation><filename>a</filename><size>"
                 "<width>x</width><height>1</height></size></annotation>"):  # fmt: skip
        (tmp_path / "a.xml").write_text(text)
        with pytest.raises(InputError, match="not an annotation"):
            read_voc(tmp_path, (8, 8))
    scene(tmp_path, "a")
    text = (tmp_path / "a.xml").read_text()
    (tmp_path / "a.xml").write_text(text.replace("a.png", "../a.png"))
    with pytest.raises(InputError, match="broken annotation"):
        read_voc(tmp_path, (8, 8))


def test_as_voc_comes(tmp_path: Path) -> None:
    marked, beside = tmp_path / "Annotations", tmp_path / "JPEGImages"
    for folder in (marked, beside):
        folder.mkdir()
    scene(marked, "a", ("dog", 1, 1, 100, 50))
    (marked / "a.png").rename(beside / "a.png")
    found = read_voc(tmp_path, (8, 8))
    assert found.names == ("a.png",) and found.labels == (("dog",),)
