"""Comparison with the numbers of other implementations."""
