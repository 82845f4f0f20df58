"""Measurements, each a script to be run by hand; RESULTS.md holds what they found."""
