"""Benchmarks and their tasks: catalog, data files, forms."""
