"""Settings every test shares: Hypothesis draws the same examples each run and is never timed."""

import signal

from hypothesis import settings

# A shell starts what it runs in the background with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("pertcore", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("pertcore")
