"""Data sets from files: samples and labels, checked before any work, read in slices."""

from __future__ import annotations

from pertcore.data.inputs import Inputs
from pertcore.data.labels import read_labels
from pertcore.data.read import read_inputs

__all__ = ["Inputs", "read_inputs", "read_labels"]
