"""The text side of the engine: tokens, chat templates, stop strings, gaps to fill, thoughts."""
