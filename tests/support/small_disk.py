"""A disk of a few pages for one run folder: a tmpfs that only the run's own mount namespace has."""

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.checked_run import Run
from tests.support.checkout import ROOT

PAGE_KIB = 4
TOOLS = ("unshare", "nsenter", "mount")


def why_not() -> str:
    """Why there can be no small disk here; "" where there can."""
    if lacking := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"needs {', '.join(lacking)}"
    tried = subprocess.run(
        ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True, check=False
    )
    return f"needs user namespaces ({tried.stderr.strip()})" if tried.returncode else ""


class SmallDisk:
    """Holds the namespace open; what it has mounted ends with it."""

    def __init__(self, run: Run, pages: int) -> None:
        self._folder = run.folder
        run.folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={PAGE_KIB * pages}k,mode=755", "none", str(run.folder)]
        self._holder = subprocess.Popen(
            ["unshare", "-Urm", "sh", "-c", '"$@" && echo mounted && exec cat', "sh", *mount],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "mounted\n"
        arguments = ["--target", str(self._holder.pid), "--user", "--mount", "--preserve-credentials", f"--wd={ROOT}"]
        run.prefix = self._prefix = ("nsenter", *arguments)
        run.visible_folder = self.visible_folder = Path(f"/proc/{self._holder.pid}/root{run.folder}")

    def resize(self, pages: int) -> None:
        """Give it so many; none that is in use is taken away."""
        self.remount(f"size={PAGE_KIB * pages}k")

    def remount(self, option: str) -> None:
        """With another option of mount."""
        subprocess.run([*self._prefix, "mount", "-o", f"remount,{option}", str(self._folder)], check=True)

    def fill_only(self, name: str) -> None:
        """Put one file of the run, empty, on a disk of its own, which is full; one that is only appended to."""
        own = self._folder.parent / f"full-{name}"
        own.mkdir()
        script = """
            set -e; mount -t tmpfs -o size=4k none "$1"; touch "$1/$2" "$3/$2"
            dd if=/dev/zero of="$1/.ballast" bs=4k 2>/dev/null || true; mount --bind "$1/$2" "$3/$2"
        """
        subprocess.run([*self._prefix, "sh", "-c", script, "sh", str(own), name, str(self._folder)], check=True)

    @property
    def used(self) -> int:
        """Pages."""
        return shutil.disk_usage(self.visible_folder).used // (PAGE_KIB << 10)

    def fill(self) -> Path:
        """Take all that is free with a file of another's."""
        path = self.visible_folder.parent / self.visible_folder.name / ".ballast"
        try:
            with path.open("wb", buffering=0) as file:
                while file.write(bytes(PAGE_KIB << 10)):
                    pass
        except OSError:
            return path
        raise AssertionError("the disk has no end")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder.communicate("")
