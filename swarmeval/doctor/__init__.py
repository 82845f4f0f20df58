"""Checks before an expensive run: whether this machine, its sandbox and the model are fit for it."""
