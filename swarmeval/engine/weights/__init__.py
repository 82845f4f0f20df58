"""The weights of a loaded model for fast products: unpacked, joined into fused parts, prepacked for a CPU."""
