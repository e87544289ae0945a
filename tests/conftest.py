"""Settings every test shares: Hypothesis draws the same examples each run and is never timed."""

from hypothesis import settings

settings.register_profile("pertcore", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("pertcore")
