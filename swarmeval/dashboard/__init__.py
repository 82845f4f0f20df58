"""The live dashboard: panels as lines of text, and the screens that show them."""
