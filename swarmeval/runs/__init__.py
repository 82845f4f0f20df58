"""A run and its files: plan, journal, ledger, run folder, result files."""
