"""The subcommands, one short file each: they wire rooms together and compute nothing."""
