"""Checks before an expensive run: is this machine, its sandbox and the model fit for it."""
