"""Sums, extremes, norms, sorts and statistics along dimensions."""
