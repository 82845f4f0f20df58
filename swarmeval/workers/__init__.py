"""Worker processes and fleets (local, endpoint, Ray) with a common link and wire format."""
