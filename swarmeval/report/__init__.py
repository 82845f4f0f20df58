"""report.html: a self-contained report of a run on one page."""
