"""The subcommands, one file each. They connect the other packages and compute nothing themselves."""
