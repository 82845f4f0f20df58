"""Measurements of the machine: host, processes, memory, energy; and the events of a run."""
