# %% [markdown]
# # How sensitive is an autoencoder?
#
# There are no classes here, and no labels: the question is how far a small change of the input
# moves the output. To first order the answer is the Jacobian J, which is never stored.

# %%
import numpy as np

import pertcore as pc
from pertcore.demo import AUTOENCODER, digits

model = pc.from_onnx(AUTOENCODER)  # your "model.onnx"
x = digits()[0][:20]  # your inputs
bounds, eps = (0, 1), 0.5  # the range of x; the budget in the 2-norm, in the units of x

# %% [markdown]
# ## The spectral norm
#
# The largest factor by which the linear model stretches a change, with a bound from above. The
# vector that reaches it is the worst direction.

# %%
norm = pc.spectral_norm(model, x)
print(norm)
print("most sensitive sample:", int(np.argmax(norm.value)), "with a factor of", norm.value.max())

# %% [markdown]
# Is the linear model any good? Move a little along the worst direction and see.

# %%
step = 1e-2 * norm.vector
moved = model((x + step).astype(np.float32)) - model(x)
factor = np.linalg.norm(moved.reshape(len(x), -1), axis=1) / 1e-2
print("stretched by", factor.min(), "to", factor.max())
assert np.allclose(factor, norm.value, rtol=0.1)

# %% [markdown]
# ## A whole spectrum
#
# A few directions that matter say that the network listens to little of its input.

# %%
spectrum = pc.singular_vectors(model, x[0], 4)
print("largest singular values:", spectrum.values)
assert np.isclose(spectrum.values[0], norm.value[0], rtol=1e-3)

# %% [markdown]
# ## What an attack makes of it
#
# `quadratic` solves the linearised problem and proves how near the optimum it is. `iterated-
# quadratic` follows the model's curvature. Chance is there to compare with.

# %%
settings = {"norm": 2, "eps": eps, "bounds": bounds, "task": "regression"}
for attack in ("random", "linear", "quadratic", "iterated-quadratic"):
    r = pc.attack(model, x, attack=attack, **settings)
    print(f"{attack:20s} output PSNR {np.mean(r.metrics['psnr_out']):6.2f} dB")
    if r.certificate is not None:
        print(f"{'':20s} at least {r.certificate.ratio.min():.4f} of the linear optimum")

# %% [markdown]
# ## Which pixels
#
# The gradient of a loss says it for a loss; the lengths of J's columns for all outputs at once.

# %%
jacobian = pc.jacobian(model, x[0])
columns = jacobian @ np.eye(jacobian.shape[1], dtype=np.float32)
lengths = np.linalg.norm(columns, axis=0).reshape(x.shape[-2:])
print(np.round(lengths, 2))
assert lengths.max() <= norm.value[0] * (1 + 1e-5)  # a column is J e_k
