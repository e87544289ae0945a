"""Who is fooled costs nothing more, whether or not the model can `take`, and changes no answer."""

from __future__ import annotations

import numpy as np
import pytest

import pertcore as pc
from tests.attacks.models import network, samples


class Watched:
    """A model that notes the batch sizes it sees, with `take` or without."""

    def __init__(self, inner, can_take):
        self.inner, self.can_take = inner, can_take
        self.sizes, self.taken = [], 0

    def __getattr__(self, name):
        return getattr(self.inner, name)

    @property
    def capabilities(self):
        return self.inner.capabilities if self.can_take else self.inner.capabilities - {"take"}

    def __call__(self, x):
        return self.inner(x)

    def linearize(self, x):
        self.sizes.append(len(x))
        lin = self.inner.linearize(x)
        watched = self

        class Point:
            value = lin.value
            vjp = staticmethod(lin.vjp)

            def take(self, index):
                assert watched.can_take
                watched.taken += 1
                return lin.take(index)

        return Point()


@pytest.mark.parametrize("can_take", [True, False])
@pytest.mark.parametrize("name", ["alg1", "pgd", "deepfool"])
def test_the_batch_shrinks_and_the_answer_stays(name, can_take):
    x = samples(80)
    settings = {"refine": 0} if name == "deepfool" else {"eps": 0.3}
    plain = pc.attack(network(), x, attack=name, steps=12, **settings)
    watched = Watched(network(), can_take)
    result = pc.attack(watched, x, attack=name, steps=12, **settings)
    np.testing.assert_allclose(result.x_adv, plain.x_adv, atol=1e-5)
    assert np.array_equal(result.success, plain.success)
    assert watched.sizes == sorted(watched.sizes, reverse=True)
    assert watched.sizes[-1] < len(x) / 2
    assert result.calls.f < 0.8 * 12 * len(x)


def test_few_leavers_are_carried_once_and_many_are_dropped_at_once():
    model = pc.from_matrix(np.array([[-1.0], [1.0]]), dtype=np.float64)
    for easy, expected in ((1, 0), (5, 1)):
        x = np.concatenate([np.full((easy, 1), 0.05), np.full((10 - easy, 1), 5.0)])
        watched = Watched(model, can_take=True)
        pc.attack(watched, x, attack="alg1", eps=0.3, steps=3, norm=2)
        assert watched.taken == expected
        # The last are four who stand, whose gradients are looked at.
        assert watched.sizes == [10, 10, 10 - easy, 4]
