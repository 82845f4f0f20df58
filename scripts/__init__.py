"""What people and the CI call: shell scripts, and the parts of them that are Python."""
