"""Examples of the manual, tested as they are."""
