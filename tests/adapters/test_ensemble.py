"""Several models as one: stacked outputs for the mean of losses, or the mean of logits."""

import numpy as np
import pytest

from pertcore.adapters.ensemble import ensemble
from pertcore.adapters.function import from_function
from pertcore.adapters.matrix import from_matrix
from pertcore.adapters.network import from_network
from pertcore.adapters.normalized import normalized
from pertcore.chunked import chunked
from pertcore.errors import InputError, PertcoreWarning
from pertcore.oracle import Calls
from pertcore.testing import assert_oracle

RNG = np.random.default_rng(9)
X = RNG.standard_normal((5, 6))


def members(dtype=np.float64):
    layers = [RNG.standard_normal((7, 6)), RNG.standard_normal((4, 7))]
    return [
        from_matrix(RNG.standard_normal((4, 6)), dtype=dtype),
        from_network(layers, [np.ones(7), np.zeros(4)], dtype=dtype, activation="tanh"),
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduce", ["losses", "logits"])
def test_protocol(reduce, dtype):
    assert_oracle(ensemble(members(dtype), reduce=reduce), X, runs_per_sample=2)


def test_values():
    models = members()
    each = np.stack([m(X) for m in models], axis=1)
    np.testing.assert_array_equal(ensemble(models)(X), each)
    np.testing.assert_allclose(ensemble(models, reduce="logits")(X), each.mean(axis=1))


def test_one_model_twice_counts_twice_but_only_here():
    model = members()[0]
    pair = ensemble([model, model])
    model(X)
    pair.linearize(X).vjp(np.ones((3, 5, 2, 4)))
    assert pair.calls == Calls(f=10, vjp=30)
    assert model.calls == Calls(f=15, vjp=30)


def test_one_approximated_member_makes_the_ensemble_approximated():
    with pytest.warns(PertcoreWarning):
        rough = from_function(lambda x: x[:, :4] ** 2, input_shape=6, dtype=np.float64)
    oracle = ensemble([members()[0], rough])
    assert "exact" not in oracle.capabilities
    assert oracle.notes == rough.notes
    assert_oracle(oracle.deterministic(), X, runs_per_sample=2, rtol=1e-7)


def test_wrappers_say_how_many_members_speak():
    models = members()
    assert chunked(normalized(ensemble(models), 0, 1), 4).ensemble_size == 2
    assert chunked(normalized(ensemble(models, reduce="logits"), 0, 1), 4).ensemble_size is None


@pytest.mark.parametrize(
    ("models", "options"),
    [
        ([], {}),
        ([from_matrix(np.ones((2, 3))), from_matrix(np.ones((2, 4)))], {}),
        ([from_matrix(np.ones((2, 3)))], {"reduce": "votes"}),
    ],
)
def test_members_that_do_not_fit_are_refused(models, options):
    with pytest.raises(InputError):
        ensemble(models, **options)
