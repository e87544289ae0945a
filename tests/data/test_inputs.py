"""read_inputs: every source gives the same samples, and what is wrong is named before work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pyarrow import parquet

from pertcore.data import read_inputs
from pertcore.errors import InputError


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)


def saved(path: Path, array: Any) -> str:
    np.save(path, array)
    return str(path)


def test_npy_is_memory_mapped_and_read_in_slices(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((7, 3, 4, 4), dtype=np.float32)
    inputs = read_inputs(saved(tmp_path / "x.npy", x), shape=(3, 4, 4))
    assert (len(inputs), inputs.total, inputs.shape) == (7, 7, (3, 4, 4))
    np.testing.assert_array_equal(inputs[2:5], x[2:5])
    np.testing.assert_array_equal(inputs[5:99], x[5:])
    assert inputs[0:1].flags.c_contiguous and inputs[3:3].shape == (0, 3, 4, 4)


def test_survey_finds_the_ends_and_their_samples(tmp_path: Path) -> None:
    x = np.zeros((6, 3), np.float32)
    x[4, 1], x[2, 0] = 7.0, -3.0
    inputs = read_inputs(saved(tmp_path / "x.npy", x))
    assert inputs.lowest == (-3.0, 2) and inputs.highest == (7.0, 4)
    turned = read_inputs(saved(tmp_path / "x.npy", x), scale=-2.0)
    assert turned.lowest == (-14.0, 4) and turned.highest == (6.0, 2)


@given(
    x=hnp.arrays(
        np.float64, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=st.floats(-1e3, 1e3)
    ),
    limit=st.integers(1, 12),
)
@settings(max_examples=30)
def test_survey_is_min_and_max_of_the_samples_in_use(
    x: np.ndarray, limit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("x") / "x.npy"
    inputs = read_inputs(saved(path, x), limit=limit, dtype=np.float64)
    used = x[:limit]
    assert inputs.lowest[0] == used.min() and inputs.highest[0] == used.max()
    assert used.min() in used[inputs.lowest[1]] and used.max() in used[inputs.highest[1]]
    np.testing.assert_array_equal(inputs[0:limit], used)


def test_limit_keeps_the_first(tmp_path: Path) -> None:
    text = saved(tmp_path / "x.npy", np.arange(12.0).reshape(6, 2))
    inputs = read_inputs(text, limit=4)
    assert (len(inputs), inputs.total) == (4, 6) and len(inputs[0:10]) == 4
    with pytest.raises(InputError, match="--limit 0"):
        read_inputs(text, limit=0)


def test_integers_need_a_scale(tmp_path: Path, images: np.ndarray) -> None:
    text = saved(tmp_path / "x.npy", images)
    with pytest.raises(InputError, match=r"integers \(uint8\): give --scale"):
        read_inputs(text)
    inputs = read_inputs(text, scale=1 / 255)
    np.testing.assert_array_equal(inputs[0:5], (images / 255).astype(np.float32))
    with pytest.raises(InputError, match="--scale nan"):
        read_inputs(text, scale=float("nan"))


def test_channels_last_are_moved_or_named(tmp_path: Path, images: np.ndarray) -> None:
    text = saved(tmp_path / "x.npy", images / 255)
    with pytest.raises(InputError, match="channels are last here, give --layout nhwc"):
        read_inputs(text, shape=(3, 4, 6))
    moved = read_inputs(text, shape=(3, 4, 6), layout="nhwc")
    np.testing.assert_allclose(moved[1:2][0, :, 2, 5], images[1, 2, 5] / 255, rtol=1e-6)
    kept = read_inputs(text, shape=(4, 6, 3), layout="nhwc")
    assert kept.shape == (4, 6, 3)
    first = saved(tmp_path / "first.npy", np.moveaxis(images, -1, 1) / 255)
    with pytest.raises(InputError, match="drop --layout nhwc"):
        read_inputs(first, shape=(3, 4, 6), layout="nhwc")
    with pytest.raises(InputError, match="--layout hwc: allowed"):
        read_inputs(text, layout="hwc")


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ((4, 6), (1, 4, 6)), ((4, 6, 1), (1, 4, 6)), ((1, 4, 6), (4, 6)), ((4, 6), (24,)),
        ((24,), (1, 4, 6)), ((1, 4, 6), (24,)), ((4, 6), (1, None, None)), ((24,), (24, 1, 1)),
    ],
)  # fmt: skip
def test_axes_of_length_one_and_flat_rows_fit(
    stored: tuple[int, ...], wanted: tuple[int | None, ...], tmp_path: Path
) -> None:
    x = np.random.default_rng(1).random((3, *stored), dtype=np.float32)
    inputs = read_inputs(saved(tmp_path / "x.npy", x), shape=wanted)
    assert all(w in (None, s) for s, w in zip(inputs.shape, wanted, strict=True))
    np.testing.assert_array_equal(inputs[0:3].ravel(), x.ravel())


def test_flat_rows_of_channels_last_are_unfolded(tmp_path: Path, images: np.ndarray) -> None:
    flat = saved(tmp_path / "x.npy", images.reshape(5, -1) / 255)
    inputs = read_inputs(flat, shape=(3, 4, 6), layout="nhwc")
    np.testing.assert_allclose(inputs[0:5], np.moveaxis(images, -1, 1) / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("array", "shape", "message"),
    [
        (np.zeros((2, 3, 5, 5)), (3, 4, 4), "resize or crop"),
        (np.zeros((2, 4)), (3, 4, 4), "wrong rank"),
        (np.zeros((3, 4, 4)), (3, 4, 4), "one sample needs a first axis"),
        (np.zeros((2, 3, 4, 4)), (48,), "wrong rank"),
        (np.zeros((2, 4, 6, 3)), (6, 4, 3), "order of the axes"),
        (np.zeros((0, 3)), (3,), "empty data set"),
        (np.zeros((3, 0)), (0,), "empty data set"),
        (np.zeros(3), (3,), "no sample axis"),
        (np.array([["a", "b"]]), (2,), "expected numbers"),
        (np.array([[1j]]), (1,), "expected numbers"),
    ],
)
def test_wrong_arrays_are_refused(
    array: np.ndarray, shape: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        read_inputs(saved(tmp_path / "x.npy", array), shape=shape)


def test_survey_in_many_blocks_names_samples_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pertcore.data.dense.BLOCK", 6)
    x = np.zeros((9, 3))
    x[7, 0], x[5, 2] = 4.0, -4.0
    inputs = read_inputs(saved(tmp_path / "x.npy", x))
    assert inputs.lowest == (-4.0, 5) and inputs.highest == (4.0, 7)
    x[8, 1] = np.nan
    with pytest.raises(InputError, match=r"sample 8 holds nan \(entry 1"):
        read_inputs(saved(tmp_path / "x.npy", x))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_named_by_index(bad: float, tmp_path: Path) -> None:
    x = np.zeros((5, 2, 3))
    x[3, 1, 2] = bad
    text = saved(tmp_path / "x.npy", x)
    with pytest.raises(InputError, match=rf"sample 3 holds {bad} \(entry 5"):
        read_inputs(text)
    assert len(read_inputs(text, limit=3)) == 3


def test_npz_keys(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).random((4, 3)), np.arange(4)
    path = tmp_path / "set.npz"
    np.savez(path, x=x, y=y)
    np.testing.assert_allclose(read_inputs(f"{path}:x", dtype=np.float64)[0:4], x)
    with pytest.raises(InputError, match=r"set.npz:KEY: x, y"):
        read_inputs(str(path))
    with pytest.raises(InputError, match="no such array: x, y"):
        read_inputs(f"{path}:z")
    np.savez(tmp_path / "one.npz", only=x)
    assert len(read_inputs(str(tmp_path / "one.npz"))) == 4
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(InputError, match="has no keys"):
        read_inputs(f"{tmp_path / 'x.npy'}:x")


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.parquet"])
@pytest.mark.parametrize("content", [b"", b"hello, world\n", b"\x93NUMPY\x01\x00", b"PK\x03\x04zz"])
def test_broken_files_are_one_clear_error(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"--inputs .*{name}: "):
        read_inputs(str(tmp_path / name))


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[1, "a"], [2, None]], dtype=object))
    with pytest.raises(InputError, match="Python objects"):
        read_inputs(str(tmp_path / "x.npy"))


@pytest.mark.parametrize("text", ["nowhere.npy", "nowhere/*.png", "nowhere.npz:x"])
def test_missing_files(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        read_inputs(str(tmp_path / text))


def test_unknown_kind_lists_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.mat").write_text("x")
    with pytest.raises(InputError, match=r"cannot read \.mat: give a \.npy"):
        read_inputs(str(tmp_path / "x.mat"))


def test_image_folder_and_glob(tmp_path: Path, images: np.ndarray) -> None:
    for i, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    expected = np.moveaxis(images, -1, 1) / 255
    inputs = read_inputs(str(tmp_path), shape=(3, 4, 6))
    assert inputs.names == tuple(f"{i}.png" for i in range(5))
    np.testing.assert_allclose(inputs[0:5], expected, rtol=1e-6)
    np.testing.assert_allclose(read_inputs(f"{tmp_path}/[12].png")[0:2], expected[1:3], rtol=1e-6)
    raw = read_inputs(str(tmp_path), scale=1.0, limit=2)
    np.testing.assert_array_equal(raw[1:2][0], np.moveaxis(images, -1, 1)[1])
    assert (len(raw), raw.total, raw.highest[0]) == (2, 5, 255.0)
    last = read_inputs(str(tmp_path), shape=(4, 6, 3))
    np.testing.assert_allclose(last[0:1][0], images[0] / 255, rtol=1e-6)


def test_grey_images(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for shape, expected in (((1, 4, 6), pixels[None]), ((3, 4, 6), np.stack([pixels] * 3))):
        inputs = read_inputs(str(tmp_path / "a.png"), shape=shape)
        np.testing.assert_allclose(inputs[0:1][0], expected / 255, rtol=1e-6)
    deep = (np.arange(24, dtype=np.uint16) * 2000).reshape(4, 6)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    inputs = read_inputs(str(tmp_path / "deep.png"), shape=(1, 4, 6))
    np.testing.assert_allclose(inputs[0:1][0, 0], deep / 65535, rtol=1e-6)


def test_images_that_do_not_fit(tmp_path: Path, images: np.ndarray) -> None:
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="colour image, the model takes one channel"):
        read_inputs(str(tmp_path), shape=(1, 4, 6))
    with pytest.raises(InputError, match="resize or crop"):
        read_inputs(str(tmp_path), shape=(3, 8, 8))
    Image.fromarray(images[1, :2]).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png is 6 x 2 pixels, a\.png is 6 x 4"):
        read_inputs(str(tmp_path))
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="not a readable image"):
        read_inputs(str(tmp_path / "a.png"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty data set"):
        read_inputs(str(tmp_path / "empty"))


def test_an_image_cut_short_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    inputs = read_inputs(str(tmp_path))
    with pytest.raises(InputError, match=r"a\.png: broken image file"):
        inputs[0:1]


def written(path: Path, **columns: Any) -> str:
    parquet.write_table(pyarrow.table(columns), path)
    return str(path)


def test_parquet_columns_side_by_side(tmp_path: Path) -> None:
    text = written(tmp_path / "x.parquet", a=[1.0, 2.0], b=[3, 4], name=["p", "q"])
    with pytest.raises(InputError, match="column 'name' holds string: name the numeric columns"):
        read_inputs(text)
    np.testing.assert_array_equal(read_inputs(f"{text}:b,a")[0:2], [[3, 1], [4, 2]])
    with pytest.raises(InputError, match="no column 'c', there are a, b, name"):
        read_inputs(f"{text}:c")
    with pytest.raises(InputError, match="give --scale"):
        read_inputs(f"{text}:b")


def test_parquet_lists_fill_the_shape(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((3, 12))
    text = written(tmp_path / "x.parquet", pixels=[list(row) for row in x], y=[0, 1, 2])
    with pytest.raises(InputError, match="a column of lists stands alone"):
        read_inputs(text)
    inputs = read_inputs(f"{text}:pixels", shape=(3, 2, 2), dtype=np.float64)
    np.testing.assert_array_equal(inputs[0:3].reshape(3, -1), x)
    ragged = written(tmp_path / "r.parquet", pixels=[[1.0, 2.0], [1.0]])
    with pytest.raises(InputError, match="row 1 holds 1 values, row 0 holds 2"):
        read_inputs(ragged)


def test_parquet_gaps_are_no_numbers(tmp_path: Path) -> None:
    text = written(tmp_path / "x.parquet", a=[1.0, None, 3.0])
    with pytest.raises(InputError, match="sample 1 holds nan"):
        read_inputs(text)
    empty = written(tmp_path / "e.parquet", a=pyarrow.array([], pyarrow.float32()))
    with pytest.raises(InputError, match="empty data set"):
        read_inputs(empty)
