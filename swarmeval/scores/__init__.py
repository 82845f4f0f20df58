"""Statistics on verdicts: pass@k, intervals, comparisons, costs, published scores."""
