"""A fault planted in a CUDA source makes the parity check fail: at least one in each family."""

from __future__ import annotations

import numpy as np
import pytest

from pertcore.kernels.catalogue import ROWS
from pertcore.kernels.cuda import launch
from tests.kernels.cuda import test_on_the_cpu as parity
from tests.kernels.cuda.shim import Machine

SHORT = (1, 31, 32, 33)
FAULTS = [
    ("pgd_inf", "s - x > e", "s - x >= e"),
    ("finish_inf", "(s - e > x)", "(s - e < x)"),
    ("lmo_box_inf", "high - x : x - low", "high + x : x - low"),
    ("project_1", "(found.first - radius) /", "(found.first + radius) /"),
    ("lmo_box_1", "value(i) <= high", "value(i) < high"),
    ("lmo_box_2", "v < cap ? m * m : 0.0", "v > cap ? m * m : 0.0"),
    ("project_box_2", "norm > limit", "norm < limit"),
    ("dual_step_p", "pow(total, -1 / p)", "pow(total, 1 / p)"),
    ("finish_p", "scale *= limit", "scale *= 0.999 * limit"),
    ("project_box_p", "abs(total - 1) <= enough", "abs(total - 1) <= 0.1"),
    ("margin_loss", "runner_up ? -sign", "runner_up ? sign"),
    ("dlr_loss", "here.value < last.value ||", "here.value <= last.value ||"),
    ("random_ball", "(v >> 27)", "(v >> 26)"),
    ("random_order", "stream.unit(place) *", "stream.unit(place + 1) *"),
    ("subset_gains", "g > 0 ? gap(x, low)", "g < 0 ? gap(x, low)"),
    ("best_subset", "if (!taken[", "if (taken["),
    ("greedy_signs", "< 0 ? -1.0 : 1.0", "<= 0 ? -1.0 : 1.0"),
    ("one_opt", "value += 4.0 * rise;", "value -= 4.0 * rise;"),
    ("reorthogonalise", "wide(rest[i]) - part", "wide(rest[i]) + part"),
    ("mixing", "g[c] = along - square * wide(v[c])", "g[c] = along"),
    ("gram_mixing", "g[c] / found.first", "g[c] / (found.first + 1)"),
    ("gram_search", "value += 4.0 * gain", "value += 2.0 * gain"),
    ("cone_ascent", "PULL = 0.3", "PULL = 0.4"),
    ("subset_exact", "best * (1 - TIE)", "best * (1 + TIE)"),
    ("subset_greedy", "sign * wide(column[j])", "wide(column[j])"),
]
BARRIERS = [
    ("lmo_box_2", "__syncthreads();  // the last result has been read by all\n", "\n"),
    ("project_2", "/ WARP] = v;\n    __syncthreads();", "/ WARP] = v;"),
    ("subset_exact", "__syncwarp();\n        whole number", "whole number"),
    ("mixing", "__syncthreads();  // all have read the old row\n", "\n"),
]


def planted(machine: Machine, name: str, old: str, new: str) -> Machine:
    family = ROWS[name].cuda
    text = launch.source(family)
    assert old in text, f"{family} has no {old!r} any more: plant another fault"
    return Machine(machine.folder, {family: text.replace(old, new)})


@pytest.mark.parametrize(("name", "old", "new"), FAULTS, ids=[f"{f[0]}-{f[2]}" for f in FAULTS])
def test_a_planted_fault_is_found(machine, name, old, new):
    with pytest.raises(AssertionError):
        parity.check(planted(machine, name, old, new), name, np.float32, SHORT)


@pytest.mark.parametrize(("name", "old", "new"), BARRIERS, ids=[b[0] for b in BARRIERS])
def test_a_missing_barrier_is_found(machine, name, old, new):
    with pytest.raises(AssertionError):
        parity.test_the_order_of_the_threads_does_not_matter(planted(machine, name, old, new), name)
        parity.check(planted(machine, name, old, new), name, np.float32, (33,))


def test_every_family_has_a_fault():
    assert {ROWS[name].cuda for name, _, _ in FAULTS} == set(launch.SOURCES)


def test_every_row_has_one_cuda_body_and_one_way_to_start_it():
    homes = {name: family for family in launch.SOURCES for name in launch.kernels_of(family)}
    assert homes == {name: row.cuda for name, row in ROWS.items()}
    assert set(launch.LAUNCHES) == set(ROWS)
