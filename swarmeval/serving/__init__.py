"""Serving of replicas over OpenAI's HTTP API."""
