"""The layers of isolation around a program: namespaces, Landlock, seccomp, limits."""
