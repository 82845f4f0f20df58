"""The library: the entry points that `import swarmeval` offers to other programs."""
