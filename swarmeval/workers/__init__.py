"""Worker processes and fleets: one link, one wire format."""
