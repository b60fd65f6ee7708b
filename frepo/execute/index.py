"""The database as a run brings it up to date: an index, which never stops a computation."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cache

from frepo.errors import FrepoError
from frepo.progress import warn
from frepo.runtime import RuntimeOptions
from frepo.store.connect import DatabaseBusyError
from frepo.store.ingest import ingest


def bring_up(options: RuntimeOptions, names: Sequence[str], patience: float | None, *, whole: bool = True) -> None:
    """Bring the database up to the runs of `names`, warning of records that it cannot take.

    Where the options name no database, another process does this. It is waited for `patience` seconds where another
    process has it open; None for the longest patience of the store. With `whole`, all of it is read to find damage.
    Into one that is not there come all runs: somebody may have lost it.

    Raises:
        DatabaseBusyError: it stayed open elsewhere.
        FrepoError: it cannot be written.
    """
    if options.database is None:
        return
    wanted = names if options.database.exists() else None
    for problem in ingest(options.database, options.runs_dir, wanted, patience=patience, whole=whole).problems:
        _warn_once(problem)


def bring_up_if_free(options: RuntimeOptions, name: str, patience: float = 0.0) -> None:
    """Do the same where nobody else has the database open: the next time, or `frepo ingest`, catches up."""
    try:
        with suppress(DatabaseBusyError):
            bring_up(options, [name], patience, whole=False)
    except FrepoError as error:
        _warn_once(str(error))


_warn_once = cache(warn)
"""A damaged record is met at every checkpoint."""
