"""Who gets which job when: dispatch, device queues, the supervision of workers, the judge queue."""
