"""Kernels of paged decoding: compiled for the CPU, and in torch for any device."""
