"""The live dashboard: panels as lines of text, and the screen that shows them."""
