"""Commands of frepo in processes that fork from an interpreter which has imported what is not frepo's.

A command of a few steps spends a third of its time importing JAX and other libraries. Here that is done once for each
setting of their environment. A command is still a process of its own, a child of the one that starts it, with its own
arguments, environment, directory and pipes; it imports all of frepo itself, and its interpreter ends as usual.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path

LIBRARIES = (
    *("jax", "jax.numpy", "jax.scipy", "flax", "flax.linen", "optax", "optax.contrib", "duckdb", "pydantic", "typer"),
    *("rich.console", "rich.progress", "rich.table", "jinja2", "numpy", "scipy.linalg", "PIL.Image", "safetensors"),
    *("jaxtyping", "msgpack", "ml_dtypes", "importlib.metadata", "csv", "sqlite3", "http.client", "concurrent.futures"),
)
READ_AT_IMPORT = (
    *("JAX_", "XLA_", "LIBTPU_", "NVIDIA_", "PYTHON", "TF_", "OMP_", "OPENBLAS_", "MALLOC_", "GLIBC_", "LD_"),
)
"""Beginnings of variables that these libraries or the interpreter may read when they start."""
CACHE, PATHS = "JAX_COMPILATION_CACHE_DIR", "PYTHONPATH"
"""Those that differ from command to command: set when it forks."""
MOST = 3
"""Interpreters that wait at a time."""
SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2): whose children the orphans below this process become."""
LARGEST = 2**20


class Interpreter:
    """A process that has imported LIBRARIES under some environment and forks commands."""

    def __init__(self, environment):
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-W", "default", __file__, str(there.fileno())]
        self.process = subprocess.Popen(
            command, env=environment, pass_fds=[there.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        there.close()
        self.channel = here

    def fork(self, arguments, directory, environment, files):
        """Start a command with these three files as its stdin, stdout and stderr; return the number of its process."""
        asked = json.dumps({"arguments": arguments, "directory": str(directory), "environment": environment})
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        prctl(SUBREAPER, 1)
        try:
            socket.send_fds(self.channel, [asked.encode()], files)
            return int(self.channel.recv(LARGEST))
        finally:
            prctl(SUBREAPER, 0)

    def close(self):
        self.channel.close()
        self.process.wait()


_interpreters = {}
_lock = threading.Lock()


def _interpreter(environment):
    settings = {k: v for k, v in environment.items() if k not in (CACHE, PATHS)}
    key = tuple(sorted(item for item in settings.items() if item[0].startswith(READ_AT_IMPORT)))
    found = _interpreters.pop(key, None) or Interpreter(settings)
    _interpreters[key] = found  # the newest is the last
    if len(_interpreters) > MOST:
        _interpreters.pop(next(iter(_interpreters))).close()
    return found


class Command(subprocess.Popen):
    """`python -m frepo.cli ARGUMENTS`; else as any `Popen` without a session or a group of its own."""

    def __init__(self, arguments, *, env, **options):
        super().__init__([sys.executable, "-m", "frepo.cli", *map(str, arguments)], env=env, **options)

    def _execute_child(self, args, *others):
        if sys.platform != "linux":  # no SUBREAPER
            return super()._execute_child(args, *others)
        cwd, env = others[4:6]
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = others[9:15]
        files = [number if given == -1 else given for number, given in enumerate((p2cread, c2pwrite, errwrite))]
        try:
            with _lock:
                self.pid = _interpreter(env).fork(args, cwd or Path.cwd(), env, files)
            self._child_created = True
        finally:
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)
        return None


def start(arguments, directory, environment, *, prefix=(), warnings=None):
    """Start `frepo ARGUMENTS` with its outputs in pipes; from nothing after a `prefix` or with `-W warnings`."""
    options = {"cwd": directory, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    if not prefix and warnings is None:
        return Command(arguments, **options)
    flags = () if warnings is None else ("-W", warnings)
    return subprocess.Popen([*prefix, sys.executable, *flags, "-m", "frepo.cli", *map(str, arguments)], **options)


def _serve(channel):
    """Fork a command for each message; return its message in the process that is to become it."""
    while True:
        message, files, _, _ = socket.recv_fds(channel, LARGEST, 3)
        if not message:
            os._exit(0)  # nobody is there any more
        reading, writing = os.pipe()
        first = os.fork()
        if not first:
            second = os.fork()
            if not second:
                channel.close()
                os.close(reading)
                os.close(writing)
                for number, file in enumerate(files):
                    os.dup2(file, number)
                    os.close(file)
                return json.loads(message)
            os.write(writing, str(second).encode())
            os._exit(0)
        os.waitpid(first, 0)  # now the command is a child of the process that has asked for it
        channel.send(os.read(reading, 100))
        for file in (*files, reading, writing):
            os.close(file)


def _become(arguments, directory, environment):
    """Let this process be the one that was asked for."""
    import jax

    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    if environment.get(CACHE):
        jax.config.update(CACHE.lower(), environment[CACHE])
    sys.path[:1] = [directory, *filter(None, environment.get(PATHS, "").split(os.pathsep))]
    sys.orig_argv, sys.argv = arguments, arguments[2:]
    sys.modules.pop("sitecustomize", None)
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module("sitecustomize")  # now that it is known from where


def _main():
    channel = socket.socket(fileno=int(sys.argv[1]))
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.collect()
    gc.freeze()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX and Python warn of forks, for threads that nothing here waits for
        asked = _serve(channel)
    _become(**asked)


if __name__ == "__main__":
    _main()
    runpy.run_module("frepo.cli", run_name="__main__", alter_sys=True)
