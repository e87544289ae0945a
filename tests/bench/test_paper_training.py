"""The paper's networks: exported as they are, and trained on from where a training was stopped."""

import numpy as np
import onnx
import pytest
import torch

import pertcore as pc
from bench.paper import train
from bench.paper.networks import IMAGES, NETWORKS

TAUGHT = "digits-fcnn"


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_export_is_the_network(name):
    torch.manual_seed(0)
    network = NETWORKS[name]
    model = network.build()
    x = torch.rand(2, *((1, 12, 12) if network.makes == "colours" else IMAGES[network.data]))
    if network.makes == "classes":  # moments that are not those of a new network
        with torch.no_grad():
            model.train()(torch.rand(4, *x.shape[1:]))
    model.eval()
    proto = train.exported(network, model, "told")
    size = x.shape[1:] if network.makes == "colours" else None
    oracle = pc.from_onnx(proto, input_shape=size)
    with torch.no_grad():
        wanted = model(x)
    np.testing.assert_allclose(oracle(x.numpy()), wanted.numpy(), atol=2e-5)
    assert proto.graph.doc_string == "told"


def weights(path):
    return [onnx.numpy_helper.to_array(w) for w in onnx.load(path).graph.initializer]


def test_a_stopped_training_goes_on_with_the_same_numbers(tmp_path, monkeypatch):
    whole = weights(train.trained(TAUGHT, tmp_path / "whole", 3))
    done = train.one_epoch

    def stopping(*given):
        if (tmp_path / "parts" / f"{TAUGHT}_3.state").is_file():
            raise KeyboardInterrupt
        return done(*given)

    monkeypatch.setattr(train, "one_epoch", stopping)
    with pytest.raises(KeyboardInterrupt):
        train.trained(TAUGHT, tmp_path / "parts", 3)
    monkeypatch.setattr(train, "one_epoch", done)
    path = train.trained(TAUGHT, tmp_path / "parts", 3)
    for a, b in zip(whole, weights(path), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert train.trained(TAUGHT, tmp_path / "parts", 3) == path


def test_crops_are_parts_of_the_padded_image_or_of_its_mirror():
    torch.manual_seed(0)
    x = torch.arange(1, 1 + 64, dtype=torch.uint8).reshape(1, 8, 8)
    wide = np.pad(x[0].numpy(), 4)
    parts = [wide[i : i + 8, j : j + 8] for i in range(9) for j in range(9)]
    allowed = {part.tobytes() for crop in parts for part in (crop, crop[:, ::-1])}
    moved = [image.numpy().tobytes() for image in train.moved(x.repeat(50, 1, 1, 1))[:, 0]]
    assert set(moved) <= allowed and len(set(moved)) > 20
