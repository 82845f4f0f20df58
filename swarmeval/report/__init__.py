"""report.html: a run on one page that loads nothing."""
