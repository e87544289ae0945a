"""Settings every test shares: Hypothesis draws the same examples each run and is never timed."""

import os
import signal

from hypothesis import settings

# Workers of pytest share the cores: threads of PyTorch and BLAS that wait for each other spin, and
# take several times as long. Read when either is loaded, which is later than this.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts what it runs in the background with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("pertcore", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("pertcore")
