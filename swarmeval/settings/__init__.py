"""The settings of a run: keys, defaults, limits, loading."""
