"""The manual: pages in Markdown, and examples in Python."""
