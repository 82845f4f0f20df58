"""A disk of a few pages for one run folder: a tmpfs in the mount namespace of the run."""

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
    """Why small disks are impossible here, or "" if they are possible."""
    if lacking := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"needs {', '.join(lacking)}"
    tried = subprocess.run(
        ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True, check=False
    )
    return f"needs user namespaces ({tried.stderr.strip()})" if tried.returncode else ""


class SmallDisk:
    """Keeps a mount namespace open. Its mounts disappear with it."""

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
        """Resize the disk; pages in use are kept."""
        self.remount(f"size={PAGE_KIB * pages}k")

    def remount(self, option: str) -> None:
        """Remount the disk with this option."""
        subprocess.run([*self._prefix, "mount", "-o", f"remount,{option}", str(self._folder)], check=True)

    def fill_only(self, name: str) -> None:
        """Put one append-only file of the run, still empty, on its own full disk."""
        own = self._folder.parent / f"full-{name}"
        own.mkdir()
        script = """
            set -e; mount -t tmpfs -o size=4k none "$1"; touch "$1/$2" "$3/$2"
            dd if=/dev/zero of="$1/.ballast" bs=4k 2>/dev/null || true; mount --bind "$1/$2" "$3/$2"
        """
        subprocess.run([*self._prefix, "sh", "-c", script, "sh", str(own), name, str(self._folder)], check=True)

    @property
    def used(self) -> int:
        """Pages in use."""
        return shutil.disk_usage(self.visible_folder).used // (PAGE_KIB << 10)

    def fill(self) -> Path:
        """Fill the free space with a file that is not the run's."""
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
