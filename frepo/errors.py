"""Errors a user can cause, and what each one means for the exit code."""

import difflib
from collections.abc import Iterable, Sequence


def near_text(name: str, known: Iterable[str], cutoff: float = 0.4) -> str:
    """Return the question whether the one of `known` that is most like `name` is meant, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f", did you mean `{near[0]}`?" if near else ""


def printable(text: str) -> str:
    """Return a stranger's text without characters that control a terminal: they are shown as Python writes them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


class FrepoError(Exception):
    """A failure with a message for the user instead of a traceback; exit code 1."""

    exit_code = 1


class SpecError(FrepoError):
    """A spec, an override or an argument is not valid; exit code 2."""

    exit_code = 2


class DivergedError(FrepoError):
    """A computation gave numbers that are not finite."""


class Interrupted(FrepoError):  # noqa: N818 (a request, not an error)
    """A signal stopped the run; the same command goes on from the saved state; exit code 75 (EX_TEMPFAIL)."""

    exit_code = 75


class SpecsFailedError(FrepoError):
    """Some of several specs failed."""

    def __init__(self, message: str, finished: Sequence[str]) -> None:
        super().__init__(message)
        self.finished = tuple(finished)
        """Ids of the runs that are done."""
