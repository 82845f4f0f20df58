"""The decode loop of a replica: branches, decoders, sampler, weights, native kernels. Home of torch."""
