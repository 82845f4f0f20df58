"""Load on a server and what it shows: generator, latency law, report. Knows no workload and no fleet."""
