"""Lists the hostile acts that succeed if layers are missing. Most names are those of doctor/hostile.py.

Measured by running the acts with layers disabled: two or three layers block most acts, a single layer blocks few.
"""

from collections.abc import Collection, Mapping, Set

Acts = Mapping[str, Set[str]]

# An act succeeds if all of its layers are missing and the program's user, usually nobody, may do it.
ACTS: Acts = {
    "many large files": {"namespaces"},
    "ten million files": {"namespaces"},
    "fork": {"seccomp"},
    "double-forked daemon": {"seccomp"},  # ended at the verdict
    "stop itself": {"seccomp"},
    "an abstract socket": {"seccomp"},
    "new namespaces": {"seccomp"},
    "read its parent's memory": {"seccomp"},
    "keys": {"seccomp"},
    "a file in memory": {"seccomp"},
    "throw a file out of memory": {"seccomp"},
    "ask which pages are in memory": {"seccomp"},
    "lock a library file": {"seccomp"},
    "look for locks on a library file": {"seccomp"},
    "lock an open file": {"seccomp"},
    "lock all of a library file": {"seccomp"},
    "lease a library file": {"seccomp"},
    "watch a folder": {"seccomp"},
    "a larger pipe": {"seccomp"},
    "the machine's load": {"seccomp"},
    "its page faults": {"seccomp"},
    "the number of a socket": {"seccomp"},
    "who is at the other end": {"seccomp"},
    "a larger socket": {"seccomp"},
    "wake who waits on a library's page": {"seccomp"},
    "a thread whose end is told to others": {"seccomp"},
    "the clock of the first process": {"seccomp"},
    "pages shared with others": {"seccomp"},
    "fetch a file": {"seccomp"},
    "throw out pages of a library": {"seccomp"},
    "wait for every processor": {"seccomp"},
    "timers without end": {"namespaces"},
    "the benchmark's answers": {"namespaces", "landlock"},
    "bind a port": {"landlock", "seccomp"},
    "read the users": {"namespaces", "landlock"},
    "read a home": {"namespaces", "landlock"},
    "read another's environment": {"namespaces", "landlock"},
    "read the first process": {"namespaces", "landlock"},
    "write beside its folder": {"namespaces", "landlock"},
    "write to site-packages": {"namespaces", "landlock"},
    "write to the standard library": {"namespaces", "landlock"},
    "shared memory": {"namespaces", "landlock"},
    "another program": {"namespaces", "landlock", "seccomp"},
    "a shell": {"namespaces", "landlock", "seccomp"},
    "kill the parent": {"namespaces", "landlock", "seccomp"},
    "kill everyone": {"namespaces", "landlock", "seccomp"},
    "connect out": {"namespaces", "landlock", "seccomp"},
    "read as root": {"user"},
    "become root": {"namespaces", "landlock", "seccomp", "user"},
}

# Executed programs may start processes, signal each other and use locks, so these acts succeed in any case.
ALLOWED_TO_EXECUTED = {
    "fork", "double-forked daemon", "another program", "a shell", "stop itself", "lock a library file",
    "look for locks on a library file", "lock an open file", "lock all of a library file", "lease a library file",
    "watch a folder", "a larger pipe", "the machine's load", "its page faults", "wake who waits on a library's page",
    "a thread whose end is told to others", "pages shared with others", "fetch a file", "throw out pages of a library",
    "wait for every processor",
}  # fmt: skip
EXECUTED_ACTS: Acts = {name: layers for name, layers in ACTS.items() if name not in ALLOWED_TO_EXECUTED} | {
    "kill the parent": {"namespaces", "landlock"},
    "kill everyone": {"namespaces", "landlock"},
    "a datagram": {"namespaces", "seccomp"},
    "processes beyond its limit": {"processes"},
}

# The same in a few words: what programs can do if all of the layers are missing.
POWERS: Acts = {
    "fill the disk": {"namespaces"},
    "start other processes": {"seccomp"},
    "read and write the files of the user that they run as": {"namespaces", "landlock"},
    "use the network": {"namespaces", "landlock", "seccomp"},
    "read the files of root": {"user"},
}
EXECUTED_POWERS: Acts = {name: layers for name, layers in POWERS.items() if name != "start other processes"} | {
    "start any number of processes": {"processes"},
    "end other programs of the user that they run as": {"namespaces", "landlock"},
}


def consequences(missing: Collection[str], powers: Acts = POWERS) -> str:
    """Say in one phrase what programs can do if these layers are missing."""
    found = unblocked_acts(missing, powers)
    return f"programs can {', '.join(found)}" if found else "the other layers block all known hostile programs"


def unblocked_acts(missing: Collection[str], acts: Acts = ACTS) -> list[str]:
    """The acts that no layer blocks if these layers are missing."""
    return [act for act, layers in acts.items() if layers <= set(missing)]
