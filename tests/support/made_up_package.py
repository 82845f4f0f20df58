"""Packages on disk, written from sources that a test gives."""

from pathlib import Path


def package(folder: Path, files: dict[str, str | bytes], name: str = "made") -> str:
    """Write a package and return its path."""
    for path, source in {"__init__.py": "", **files}.items():
        file = folder / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(source if isinstance(source, bytes) else source.encode())
    return str(folder / name)
