"""The sandbox that runs model-written programs. Does not know models, benchmarks or runs."""
