"""A device without room for the batch: half of it is tried, and the result says so."""

import numpy as np
import pytest

import pertcore as pc
from pertcore.errors import DeviceMemoryError, PertcoreWarning
from tests.example_oracle import Prototypes

RNG = np.random.default_rng(0)
CENTRES, X = RNG.random((3, 4)), RNG.random((13, 4))
SETTINGS = {"attack": "pgd", "eps": 0.2, "bounds": (0, 1), "restarts": 2}


class Small(Prototypes):
    """Has room for `room` samples in `steps` of its runs, and then for one less."""

    room, steps = 5, 10**9

    def linearize(self, x):
        self.steps -= 1
        if len(x) > self.room - (self.steps < 0):
            raise DeviceMemoryError(f"no room for {len(x)} samples")
        return super().linearize(x)


def attacked(oracle, **more):
    with pytest.warns(PertcoreWarning) as said:
        result = pc.attack(oracle, X, **SETTINGS, **more)
    return result, [str(w.message) for w in said if "room" in str(w.message)]


def test_the_batch_is_halved_until_it_fits_and_the_result_is_the_same():
    result, said = attacked(Small(CENTRES))
    wanted = pc.attack(Prototypes(CENTRES), X, **SETTINGS, batch_size=3)
    np.testing.assert_array_equal(result.x_adv, wanted.x_adv)
    np.testing.assert_array_equal(result.status, wanted.status)
    assert result.calls.vjp == wanted.calls.vjp
    assert [text.split(":")[1].split(";")[0] for text in said] == [
        " 6 were taken", " 3 were taken",
    ]  # fmt: skip
    assert all(text in result.warnings for text in said)


@pytest.mark.parametrize("steps", range(8))
def test_what_a_failed_batch_left_behind_is_not_kept_twice(steps):
    """Wherever a batch of five stops having room: after its certificate is made, too."""
    cramped = Small(CENTRES)
    cramped.steps = steps
    with pytest.warns(PertcoreWarning, match="no room for"):
        result = pc.attack(
            cramped, X, attack="quadratic", norm=2, eps=0.2, task="regression", batch_size=5
        )
    assert len(result.certificate.upper) == len(X)
    assert sum("room" in text for text in result.warnings) == 1


def test_one_sample_that_has_no_room_is_an_error():
    cramped = Small(CENTRES)
    cramped.room = 0
    with pytest.raises(DeviceMemoryError, match="no room for 1 samples"):
        pc.attack(cramped, X, **SETTINGS)
