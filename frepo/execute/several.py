"""Several specs in one command: one that fails does not end the others."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from frepo.errors import FrepoError, Interrupted, SpecsFailedError
from frepo.progress import warn
from frepo.spec import LoadedSpec


class Failures:
    """Which specs have failed, and of what; where they are not to `go_on`, the first failure is raised at once."""

    def __init__(self, *, go_on: bool) -> None:
        self._go_on = go_on
        self._found: list[tuple[LoadedSpec, FrepoError]] = []

    @contextmanager
    def of(self, loaded: LoadedSpec) -> Generator[None]:
        """Keep the failure of a spec that the block works on.

        Raises:
            Interrupted: a signal came: that ends all of them.
        """
        try:
            yield
        except Interrupted:
            raise
        except (FrepoError, OSError) as error:
            failure = error if isinstance(error, FrepoError) else _in_words(error)
            if not self._go_on:
                raise failure from None
            warn(f"{loaded.path}: {failure}")
            self._found.append((loaded, failure))

    def left(self, specs: Sequence[LoadedSpec]) -> list[LoadedSpec]:
        """Return those that have not failed so far."""
        failed = [id(loaded) for loaded, _ in self._found]
        return [loaded for loaded in specs if id(loaded) not in failed]

    def raise_any(self, run_ids: Sequence[str]) -> None:
        """Sum up, where a spec has failed and the runs `run_ids` are finished.

        Raises:
            SpecsFailedError: one has.
        """
        if self._found:
            lines = [f"  {loaded.path}: {str(failure).splitlines()[0]}" for loaded, failure in self._found]
            total = len(self._found) + len(run_ids)
            text = f"{len(lines)} of {total} specs failed{', the others are done' if run_ids else ''}:"
            raise SpecsFailedError("\n".join([text, *lines]), run_ids)


def _in_words(error: OSError) -> FrepoError:
    return FrepoError(f"{error}; what was saved before is intact, run the same command again to go on")
