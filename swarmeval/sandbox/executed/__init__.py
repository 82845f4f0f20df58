"""Executed programs: built and run in a jail, compared outside it."""
