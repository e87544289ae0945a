"""Data sets from files, read in slices and checked before any work; batches for training."""

from __future__ import annotations

from pertcore.data.inputs import Inputs
from pertcore.data.labels import read_labels
from pertcore.data.read import read_inputs
from pertcore.data.training import perturbed

__all__ = ["Inputs", "perturbed", "read_inputs", "read_labels"]
