"""Assigns jobs to workers and judges: dispatch, device queues, supervision of workers, judge queue."""
