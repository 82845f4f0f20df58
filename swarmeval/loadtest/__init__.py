"""Load testing of a server: load generator, latency statistics, report. Does not know about workloads or fleets."""
