"""One file per subcommand: wires rooms together, computes nothing."""
