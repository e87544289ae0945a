"""Bundled models and evaluation data of `pertcore demo`."""
