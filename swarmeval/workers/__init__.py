"""Worker processes and fleets (local, endpoint, Ray), with one link and one wire format for all of them."""
