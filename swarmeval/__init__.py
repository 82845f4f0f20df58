"""Swarmeval: measures how well, how fast and at what cost a language model writes code."""
