"""A fleet of OpenAI-compatible servers."""
