"""Commands that compute start again with large pages, once; others and other programs never."""

import os
import subprocess
import sys

import pytest

from frepo.cli.pages import AVAILABLE, LARGE, TUNABLES

PROGRAM = f"""
import os, sys
from frepo.cli.pages import start_with_large_pages
print("starts", flush=True)
if "of another program" in sys.argv: sys.argv = sys.argv[:1] + ["run"]
start_with_large_pages()
print(os.environ.get("{TUNABLES}"))
"""


def said(*arguments, **environment):
    kept = {name: value for name, value in os.environ.items() if name != TUNABLES}
    command = [sys.executable, "-W", "error", "-c", PROGRAM, *arguments]
    done = subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(
    not AVAILABLE.exists() or "[madvise]" not in AVAILABLE.read_text(), reason="no large pages for those who ask"
)
def test_what_computes_starts_again_once():
    for command in (("run",), ("import",), ("score",), ("work",)):
        assert said(*command) == ["starts", "starts", f"{LARGE}=1"]
    assert said("plan", "--cost") == ["starts", "starts", f"{LARGE}=1"]
    other = "glibc.malloc.check=0"
    assert said("run", **{TUNABLES: other}) == ["starts", "starts", f"{other}:{LARGE}=1"]


def test_nothing_else_does():
    assert said("plan") == said() == ["starts", "None"]
    assert said("run", "of another program") == ["starts", "None"]
    assert said("run", **{TUNABLES: f"{LARGE}=0"}) == ["starts", f"{LARGE}=0"]
