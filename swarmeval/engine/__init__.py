"""The decode loop of a replica: decoders, sampler, weights, native kernels. One of the two places that import torch."""
