"""What a run is: records, settings and rules. No torch, no asyncio, no threads."""
