# %% [markdown]
# # J^T v of a physics model
#
# A simulator that is exported to ONNX is a model like any other. J^T v carries a question about
# its output back to its input: which inputs does this quantity depend on, and how strongly? That
# is the adjoint method, one backward run for any number of inputs.

# %%
import gzip
import os
import re
from pathlib import Path

import numpy as np
from onnx import helper, numpy_helper

import pertcore as pc

# %% [markdown]
# ## A rod that cools
#
# Temperatures u of 40 points on a rod, ends held at zero, the heat equation u_t = k u_xx in 30
# explicit steps, and radiation -c u^4 that makes it nonlinear. The graph is the simulator.


# %%
def rod(points=40, steps=30, conduction=0.2, radiation=0.01):
    """An ONNX model (n, points) -> (n, points): temperatures before and after `steps` steps."""
    laplace = np.eye(points, k=1) + np.eye(points, k=-1) - 2 * np.eye(points)
    spread = np.eye(points) + conduction * laplace
    stored = [
        numpy_helper.from_array(spread.astype(np.float32), "spread"),
        numpy_helper.from_array(np.float32(4), "four"),
        numpy_helper.from_array(np.float32(radiation), "radiation"),
    ]
    nodes = []
    for t in range(steps):
        nodes += [
            helper.make_node("MatMul", [f"u{t}", "spread"], [f"conducted{t}"]),
            helper.make_node("Pow", [f"u{t}", "four"], [f"power{t}"]),
            helper.make_node("Mul", [f"power{t}", "radiation"], [f"radiated{t}"]),
            helper.make_node("Sub", [f"conducted{t}", f"radiated{t}"], [f"u{t + 1}"]),
        ]
    ends = [helper.make_tensor_value_info(f"u{t}", 1, ["n", points]) for t in (0, steps)]
    graph = helper.make_graph(nodes, "rod", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


model = pc.from_onnx(rod())
place = np.linspace(0, 1, 40)
start = np.exp(-(((place - 0.4) / 0.15) ** 2)).astype(np.float32)[None]

# %% [markdown]
# ## Where does the end temperature in the middle come from?
#
# v picks one output; J^T v has the influence of every initial temperature on it. A difference
# quotient would need a run for each point; here are three of them, to check.

# %%
at = model.linearize(start)
v = np.zeros((1, 40), np.float32)
v[0, 20] = 1
influence = at.vjp(v)[0]
for i in (5, 20, 30):
    shift = np.zeros_like(start)
    shift[0, i] = 1e-2
    quotient = (model(start + shift) - model(start - shift))[0, 20] / 2e-2
    print(f"point {i}: influence {influence[i]:.5f}, quotient {quotient:.5f}")
    assert np.isclose(influence[i], quotient, atol=2e-4)

# %% [markdown]
# ## Which initial error grows most?
#
# The top singular vector, with the spectral norm as its factor. Diffusion only ever smooths: the
# factor is below one, and the direction is a smooth bump.

# %%
worst = pc.spectral_norm(model, start[0])
print(worst)
assert worst.upper <= 1
assert np.all(np.abs(np.diff(worst.vector)) < 0.1)

# %% [markdown]
# ## A learned model of a power grid
#
# Where PERTCORE_DATA holds the network ml4acopf of VNN-COMP 2023: it takes the real and reactive
# loads of 11 consumers of the IEEE 14-bus grid and gives generation, voltages, flows and, as
# outputs 158 to 171, how far each bus is from balanced real power (README of
# AI4OPT/ml4acopf_benchmark). Which load matters most to the balance, and what is the worst change
# of the loads by one per cent each?

# %%
grid = Path(os.environ.get("PERTCORE_DATA", "../shared/data")) / "vnncomp" / "ml4acopf"
if grid.exists():
    text = gzip.decompress((grid / "vnnlib" / "14_ieee_prop1.vnnlib.gz").read_bytes()).decode()
    ends = [re.findall(rf"\({side} X_\d+ (\S+?)\)\)", text) for side in ("<=", ">=")]
    loads = np.mean(np.array(ends, np.float32), axis=0)[None]  # the middle of the property's box
    network = pc.from_onnx(grid / "onnx" / "14_ieee_ml4acopf.onnx")
    balance = np.zeros((14, 1, 186), np.float32)
    balance[np.arange(14), 0, 158 + np.arange(14)] = 1
    rows = network.linearize(loads).vjp(balance)[:, 0]  # 14 rows of J, one batched run
    sizes = np.abs(rows).max(axis=0)
    print("the balance depends most on load", int(sizes.argmax()), "with a slope of", sizes.max())

    bus = int(np.abs(rows).sum(axis=1).argmax())
    change = 0.01 * np.abs(loads) * np.sign(rows[bus])  # (6) with a budget for each load
    predicted = float(np.sum(rows[bus] * change))
    measured = float((network(loads + change) - network(loads))[0, 158 + bus])
    print(f"bus {bus}: predicted {predicted:.5f}, the network itself {measured:.5f}")
    assert np.sign(predicted) == np.sign(measured)
else:
    print("ml4acopf: not here (set PERTCORE_DATA)")
