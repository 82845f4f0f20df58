"""Tracing of a run: spans, phases, flame graphs, trace.json, OpenTelemetry."""
