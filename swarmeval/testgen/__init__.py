"""The unit-test workload of a load test: a model writes tests for real packages, which are merged and evaluated."""
