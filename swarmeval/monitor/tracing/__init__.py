"""Where the time of a run goes: spans, phases, flame graphs, trace.json."""
