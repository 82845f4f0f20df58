"""Statistics of verdicts: pass@k, intervals, comparisons, costs, published scores."""
