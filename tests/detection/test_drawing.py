"""Boxes are drawn where they are."""

from __future__ import annotations

import numpy as np

from pertcore.detection.boxes import Detections
from pertcore.detection.drawing import drawn, side_by_side


def test_a_box_has_its_frame_and_the_rest_is_the_picture():
    picture = np.zeros((3, 40, 80))
    picture[1] = 0.5
    found = Detections(np.array([[0.25, 0.25, 0.75, 0.9]]), np.array([0.8]), np.array([0]))
    image = drawn(picture, found, ("thing",))
    assert image.size == (80, 40)
    pixels = np.asarray(image)
    np.testing.assert_array_equal(pixels[2, 2], [0, 128, 0])
    for place in ((20, 20), (20, 60), (10, 59), (36, 59)):
        np.testing.assert_array_equal(pixels[place], [0xE6, 0x19, 0x4B])
    outside = Detections(np.array([[-1, -1, 2.0, 2.0]]), np.array([0.8]), np.array([9]))
    assert drawn(picture, outside).size == (80, 40)
    inside_out = Detections(np.array([[0.8, 0.2, 0.2, 0.4]]), np.array([0.8]), np.array([0]))
    np.testing.assert_array_equal(np.asarray(drawn(picture, inside_out))[:, :, 0], 0)
    both = side_by_side([image, image])
    assert both.size == (168, 40)
    np.testing.assert_array_equal(np.asarray(both)[:, 88:], pixels)
