# %% [markdown]
# # Auditing an ONNX classifier
#
# One model, its data, and four questions: how does accuracy fall with the budget, how small are
# the smallest perturbations, is another model better, and can the answers be trusted? Put your own
# file and arrays in place of the next cell.

# %%
import numpy as np

import pertcore as pc
from pertcore.demo import CLASSIFIER, digits

model = pc.from_onnx(CLASSIFIER)  # your "model.onnx"
x, y = (part[:100] for part in digits())  # your inputs as the model takes them, your labels
bounds = (0, 1)  # the range of your inputs
budgets = np.linspace(0, 0.2, 9)  # in the units of x

print(f"clean accuracy {np.mean(model(x).argmax(axis=1) == y):.3f}: the one you know?")

# %% [markdown]
# ## Robust accuracy over the budget
#
# The whole curve costs about as much as three attacks. The interval tells what another sample of
# data could have shown, not what a stronger attack could.

# %%
curve = pc.curve(model, x, y, eps=budgets, norm="inf", bounds=bounds)
print(curve)

# %% [markdown]
# ## The smallest perturbations
#
# rho1 is relative to the norm of x, rho2 the linear estimate of Theorem 1, and the quantiles are
# budgets at which that share of the samples is fooled.

# %%
robustness = pc.robustness(model, x, y, norm="inf", bounds=bounds)
print(robustness)
print("half of the samples are fooled within", robustness.quantiles([0.5])[0])

# %% [markdown]
# ## The number to report
#
# A portfolio of attacks, cheap ones first, on a budget fixed beforehand.

# %%
worst = pc.attack(model, x, y, attack="portfolio", eps=0.1, norm="inf", bounds=bounds)
print(worst)
for stage in worst.stages:
    print(f"{stage.name}: {stage}")

# %% [markdown]
# ## Is another model better?
#
# Here the other one is the same network behind a fixed 3 x 3 blur. Both answers of a sample are
# drawn together, so that small differences show.


# %%
def neighbourhood(images):
    """The mean over 3 x 3 pixels, zero outside: linear, and its own transpose."""
    padded = np.pad(images, [(0, 0)] * (images.ndim - 2) + [(1, 1), (1, 1)])
    rows, columns = images.shape[-2:]
    nine = [padded[..., i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return (sum(nine) / 9).astype(images.dtype)


def blurred_vjp(images, cotangent):
    return neighbourhood(model.linearize(neighbourhood(images)).vjp(cotangent))


blurred = pc.from_function(
    lambda images: model(neighbourhood(images)), blurred_vjp, input_shape=x.shape[1:]
)
other = pc.curve(blurred, x, y, eps=budgets, norm="inf", bounds=bounds)
print(pc.compare(curve, other))

# %% [markdown]
# ## Can this be trusted?
#
# Results that contradict each other are a sign of gradients that lie. No line below means that
# none of the known signs was found, not that the attacks were strong enough.

# %%
attacks = pc.attacks
results = [attacks.pgd(model, x, y, eps=e, norm="inf", bounds=bounds, rng=0) for e in (0.05, 0.1)]
chance = attacks.random(model, x, y, eps=0.1, norm="inf", bounds=bounds, rng=0)
for doubt in pc.doubts([*results, chance, worst]):
    print("doubt:", doubt)

# %% [markdown]
# What has to hold whatever the model: chance fools no more than the portfolio, and the curve at a
# budget of zero is the clean accuracy.

# %%
assert chance.success.sum() <= worst.success.sum()
assert np.isclose(curve.robust_accuracy[0], np.mean(model(x).argmax(axis=1) == y))
