"""Experiment trackers: Weights & Biases."""
