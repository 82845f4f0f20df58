"""Where replies are made: replicas, the processes that hold them, and fleets of those."""
