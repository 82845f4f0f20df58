"""What a program must be able to read: the interpreter, its libraries, and those of the system."""

import os
import sys
import sysconfig

SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo",
    "/etc/ld.so.cache", "/etc/localtime",
)  # fmt: skip


def readable_places() -> list[str]:
    """Each place once, none beneath another."""
    library = sysconfig.get_config_var("LIBDIR")
    wanted = {*SYSTEM, *sys.path, *([library] if library else [])}
    wanted |= {path for key in ("stdlib", "platstdlib", "purelib", "platlib") if (path := sysconfig.get_path(key))}
    found = sorted(os.path.normpath(place) for place in wanted if place and os.path.exists(place))  # noqa: PTH110
    kept: list[str] = []
    for place in found:
        if place != "/" and not any(place.startswith(f"{above}/") for above in kept):
            kept.append(place)
    return kept
