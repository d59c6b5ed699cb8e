"""Scores that accumulate and merge: counts and sums first, formulas last."""
