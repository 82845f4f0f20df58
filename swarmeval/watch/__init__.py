"""What viewers read of a run: status, progress, and following a run folder."""
