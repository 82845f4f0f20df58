"""Extracts the candidate, the code to judge, from a model's reply. Also has the rules of other harnesses."""
