"""The text side of the engine."""
