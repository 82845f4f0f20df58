"""Benchmark scripts, to be run by hand. RESULTS.md holds their results."""
