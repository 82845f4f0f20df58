"""Where model-written programs run. Knows nothing of models, benchmarks or runs."""
