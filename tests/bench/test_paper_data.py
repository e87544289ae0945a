"""The data sets of the paper, read from tiny files in the formats of their makers."""

import gzip
import struct

import numpy as np
import pytest

from bench.paper.data import AbsentError, images, pictures
from bench.paper.formats import read_idx

RNG = np.random.default_rng(0)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """datasets/ of an empty data folder."""
    monkeypatch.setenv("PERTCORE_DATA", str(tmp_path))
    for name in ("models", "datasets"):
        (tmp_path / name).mkdir()
    return tmp_path / "datasets"


def levels(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def idx(array):
    return b"\0\0\x08" + struct.pack(f">B{array.ndim}I", array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_idx(folder, packed):
    (folder / "mnist").mkdir()
    x, y = levels(3, 28, 28), np.array([4, 0, 9], np.uint8)
    for name, array in (("train-images-idx3-ubyte", x), ("train-labels-idx1-ubyte", y)):
        raw = gzip.compress(idx(array)) if packed else idx(array)
        (folder / "mnist" / (name + (".gz" if packed else ""))).write_bytes(raw)
    found, labels = images("mnist", "train")
    np.testing.assert_array_equal(found, x[:, None])
    assert labels.tolist() == [4, 0, 9] and labels.dtype == np.int64


def test_mnist_npz(folder):
    x, y = levels(2, 28, 28), np.array([1, 2], np.uint8)
    np.savez(folder / "mnist.npz", x_test=x, y_test=y, x_train=x[:1], y_train=y[:1])
    found, labels = images("mnist", "test")
    np.testing.assert_array_equal(found, x[:, None])
    assert labels.tolist() == [1, 2] and len(images("mnist", "train")[1]) == 1


def test_no_idx_file(tmp_path):
    for raw in (b"", b"PK\x03\x04more", b"\0\0\x0d\x01"):
        (tmp_path / "file").write_bytes(raw)
        with pytest.raises(ValueError, match="not an idx file"):
            read_idx(tmp_path / "file")


def test_cifar_binary(folder):
    binary = folder / "cifar-10-batches-bin"
    binary.mkdir()
    x, y = levels(5, 2, 3, 32, 32), RNG.integers(0, 10, (5, 2), dtype=np.uint8)
    for k in range(5):
        rows = np.concatenate([y[k][:, None], x[k].reshape(2, -1)], axis=1)
        (binary / f"data_batch_{k + 1}.bin").write_bytes(rows.tobytes())
    (binary / "test_batch.bin").write_bytes(rows.tobytes())
    found, labels = images("cifar10", "train")
    np.testing.assert_array_equal(found, x.reshape(10, 3, 32, 32))
    assert labels.tolist() == y.ravel().tolist()
    np.testing.assert_array_equal(images("cifar10", "test")[0], x[4])


def test_cifar_npz(folder):
    x, y = levels(2, 32, 32, 3), np.array([3, 8])
    np.savez(folder / "cifar10_test5k.npz", x=x, y=y)
    found, labels = images("cifar10", "test")
    np.testing.assert_array_equal(found, np.moveaxis(x, -1, 1))
    assert labels.tolist() == [3, 8] and found.flags.c_contiguous


def test_stl_binary_stands_column_by_column(folder):
    (folder / "stl10_binary").mkdir()
    x = levels(3, 3, 96, 96)
    (folder / "stl10_binary" / "unlabeled_X.bin").write_bytes(x.swapaxes(2, 3).tobytes())
    np.testing.assert_array_equal(pictures(2), x[:2])


def test_stl_npz(folder):
    x = levels(3, 96, 96, 3)
    np.savez(folder / "stl10_sample.npz", x=x)
    np.testing.assert_array_equal(pictures(2), np.moveaxis(x[:2], -1, 1))


@pytest.mark.parametrize(
    ("load", "where"),
    [
        (lambda: images("mnist", "test"), "ossci-datasets"),
        (lambda: images("cifar10", "train"), "www.cs.toronto.edu"),
        (lambda: pictures(1), "cs.stanford.edu"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_absent_data_is_named_with_where_to_get_it(load, where):
    with pytest.raises(AbsentError, match=f"is missing: put .*{where}") as caught:
        load()
    assert "\n" not in str(caught.value)


def test_digits_need_no_file():
    x, y = images("digits", "test")
    assert x.shape == (500, 1, 8, 8) and x.dtype == np.uint8 and set(y) == set(range(10))
