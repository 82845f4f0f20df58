"""Experiment trackers: W&B, MLflow and Trackio, each behind a queue with a thread."""
