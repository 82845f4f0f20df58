"""The version of Swarmeval."""

VERSION = "0.1.0"
