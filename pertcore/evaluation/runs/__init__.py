"""Runs over blocks of samples that survive a kill: parts on disk, a lock, resume."""
