"""The sandbox for model-written programs. Independent of models, benchmarks and runs."""
