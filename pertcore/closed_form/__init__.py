"""Answers that can be checked exactly: steps, projections, losses, random points, subsets."""
