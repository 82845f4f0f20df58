"""The arguments of `export`."""

import argparse

FORMATS = ("evalplus", "lm-eval", "every-eval-ever", "hf-eval-results", "csv", "parquet", "markdown", "latex")


def add(parser: argparse.ArgumentParser) -> None:
    """Add them to a parser."""
    parser.add_argument("folders", metavar="DIR", nargs="+", help="folder of a finished run; tables take several")
    parser.add_argument(
        "--to", required=True, choices=FORMATS, help="format of the files; docs/exports.md describes each"
    )
    parser.add_argument(
        "--output", metavar="PATH", help="file, or folder for lm-eval, every-eval-ever and hf-eval-results"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="name of the model in the exported files (default: the run's own)"
    )
