"""Scripts for developers and CI: shell scripts, and their parts that are written in Python."""
