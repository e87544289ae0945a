"""The same content and options share what was built; anything else does not."""

import gc
import weakref

import numpy as np
import onnx
import pytest

from pertcore.adapters.onnx import build as building
from pertcore.adapters.onnx import kept
from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.errors import CapabilityError
from tests.adapters.onnx.models import model, small_net, value


@pytest.fixture(autouse=True)
def nothing_kept():
    kept.forget()
    yield
    kept.forget()


def engines(*oracles):
    return len({id(oracle._engine) for oracle in oracles})


def test_the_same_content_is_built_once(tmp_path):
    made = small_net()
    path = tmp_path / "net.onnx"
    onnx.save(made, path)
    assert engines(from_onnx(made), from_onnx(path), from_onnx(path.read_bytes())) == 1


def test_other_weights_and_other_options_are_built_anew():
    made = small_net()
    others = [
        from_onnx(made),
        from_onnx(small_net(seed=1)),
        from_onnx(made, threads=1),
        from_onnx(made, straight_through=True),
    ]
    assert engines(*others) == 4


def test_oracles_of_one_engine_count_their_own_calls():
    first, second = from_onnx(small_net()), from_onnx(small_net())
    x = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
    first(x)
    assert (first.calls.f, second.calls.f) == (3, 0)
    v = np.ones((3, 3), np.float32)
    np.testing.assert_array_equal(first.linearize(x).vjp(v), second.linearize(x).vjp(v))


def test_frozen_inputs_are_part_of_the_content():
    def node(kind, *names):
        return onnx.helper.make_node(kind, names[:-1], names[-1:])

    given = [value("x", ["N", 2]), value("w", [2])]
    made = model([node("Mul", "x", "w", "y")], given, [value("y", ["N", 2])])
    oracles = [from_onnx(made, freeze={"w": np.full(2, f, np.float32)}) for f in (2, 3)]
    slopes = [o.linearize(np.ones((1, 2), np.float32)).vjp(np.ones((1, 2))) for o in oracles]
    np.testing.assert_array_equal(np.concatenate(slopes), [[2, 2], [3, 3]])


def test_sessions_end_with_the_last_oracle():
    """What is kept holds graphs alone: no session, thus no memory of a batch."""
    first = from_onnx(small_net())
    x = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
    v = np.ones((3, 3), np.float32)
    expected = first.linearize(x).vjp(v)
    sessions = [weakref.ref(first._user._session), weakref.ref(first._engine._forward)]
    del first
    gc.collect()
    assert [session() for session in sessions] == [None, None]
    again = from_onnx(small_net())
    assert again._user._session is None
    assert not again._engine._sessions
    np.testing.assert_array_equal(again.linearize(x).vjp(v), expected)
    np.testing.assert_array_equal(again(x), again.linearize(x).value)


def test_a_linearisation_outlives_its_oracle():
    x = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
    v = np.ones((3, 3), np.float32)
    lin = from_onnx(small_net()).linearize(x)
    gc.collect()
    other = from_onnx(small_net()).linearize(x)
    np.testing.assert_array_equal(lin.vjp(v), other.vjp(v))


def test_a_model_is_built_once_also_when_no_oracle_is_left(monkeypatch):
    from_onnx(small_net())
    gc.collect()
    monkeypatch.setattr(building, "build", None)
    assert from_onnx(small_net()).output_shape == (3,)


def test_an_error_is_raised_every_time():
    def failing():
        raise CapabilityError("no")

    choice = from_onnx(small_net())._choice
    for _ in range(2):
        with pytest.raises(CapabilityError):
            kept.kept(small_net(), choice, (), failing)


def test_the_one_used_longest_ago_goes_first(monkeypatch):
    monkeypatch.setattr(kept, "MOST", 2)
    first = from_onnx(small_net(seed=1))
    from_onnx(small_net(seed=2))
    assert engines(first, from_onnx(small_net(seed=1))) == 1
    from_onnx(small_net(seed=3))
    assert engines(first, from_onnx(small_net(seed=1))) == 1
    assert len(kept._KEPT) == 2


def test_large_models_are_not_kept(monkeypatch):
    monkeypatch.setattr(kept, "MOST_BYTES", 100)
    assert engines(from_onnx(small_net()), from_onnx(small_net())) == 2
