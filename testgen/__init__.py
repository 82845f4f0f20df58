"""Unit tests that a model writes for the functions of real packages, and what they are worth."""
