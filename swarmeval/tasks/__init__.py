"""Benchmarks and their tasks: registry, data files, forms."""
