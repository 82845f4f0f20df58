"""How a run is shown while it runs: status, progress, tracking."""
