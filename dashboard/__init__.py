"""The panels of the live dashboard: what a run's folder shows, as lines of text; and the screen they stand on."""
