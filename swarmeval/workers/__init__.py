"""Worker processes and fleets (local, vLLM, endpoint, Ray) with a common link and wire format."""
