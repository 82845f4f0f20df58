"""The state of a run for viewers: status, progress, and following a run folder."""
