"""Replicas behind OpenAI's HTTP API."""
