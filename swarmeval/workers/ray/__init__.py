"""A fleet of worker processes on the nodes of a Ray cluster."""
