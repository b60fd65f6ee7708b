"""Large pages of memory for what computes: the C library hands them out only if told so when the program starts."""

import os
import platform
import sys
from pathlib import Path

TUNABLES, LARGE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
COMPUTE, TIMES = ("run", "import", "score", "work"), "--cost"
AVAILABLE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def start_with_large_pages() -> None:
    """Start this command again with large pages, if it computes and Linux gives them to those who ask.

    XLA takes memory for each step and gives it back, and the kernel clears it page by page: 91 MB of 4 KiB for a
    training step of width 32 on 100 images, a fifth of its time.
    """
    given, arguments = os.environ.get(TUNABLES, ""), sys.argv[1:]
    is_this = arguments == sys.orig_argv[len(sys.orig_argv) - len(arguments) :]  # no program of somebody else
    computes = TIMES in arguments or (bool(arguments) and arguments[0] in COMPUTE)
    if not is_this or not computes or LARGE in given or not _would_help():
        return
    os.environ[TUNABLES] = ":".join(filter(None, (given, f"{LARGE}=1")))
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (itself)


def _would_help() -> bool:
    try:
        return "[madvise]" in AVAILABLE.read_text() and platform.libc_ver()[0] == "glibc"
    except OSError:
        return False
