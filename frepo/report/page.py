"""From the database and the run directories' images to one self-contained HTML page."""

import base64
import hashlib
import itertools
import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

import frepo
from frepo.data.sources.known import known_of
from frepo.errors import FrepoError
from frepo.jinja import templates
from frepo.report.caveats import caveats
from frepo.report.gallery import MOST_AT_LENGTH, Gallery, galleries
from frepo.report.gather import RunData, accuracies, gather, report_runs, seed_numbers
from frepo.report.sections import Results, results
from frepo.rundir.files import write_atomically
from frepo.rundir.provenance import now
from frepo.store.compare import compare
from frepo.store.tables import bytes_text, dataset_text, network_text, percent, source_text

RowDict = dict[str, Any]

MOST_IN_FULL = 3
"""Runs of a page of all runs that are shown in full, the newest: more make it too heavy to send."""


@dataclass(frozen=True)
class RunSection:
    """A run as the template shows it in full."""

    data: RunData
    results: Results
    galleries: list[Gallery]

    @property
    def brief(self) -> bool:
        """Whether there are too many galleries to show each at length."""
        return len(self.galleries) > MOST_AT_LENGTH


def write_report(database: Path, runs_dir: Path, names: Sequence[str], out: Path) -> Path:
    """Write the page of the newest run of each of `names`, or of all, and return its path.

    The page is `<name>.html` for one name, `comparison.html` for several, and `report.html` for all: an index with the
    newest in full. It needs no other file and no network.

    Raises:
        FrepoError: the database lacks a name, or `out` cannot be written.
    """
    names = list(dict.fromkeys(names))
    stem = {0: "report", 1: names[0] if names else ""}.get(len(names), "comparison")
    path = out / f"{stem}.html"
    return write_out(path, _page(database, runs_dir, names).encode())


def write_out(path: Path, content: bytes) -> Path:
    """Write a file below the directory of reports, making directories as needed, and return its path.

    Raises:
        FrepoError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise FrepoError(f"{path} cannot be written: {error.strerror}; name another directory with --out") from None
    return path


def _page(database: Path, runs_dir: Path, names: list[str]) -> str:
    runs = report_runs(database, names)
    run_ids = [run["run_id"] for run in runs]
    rows = accuracies(database, run_ids)
    keys = itertools.count(1)
    pages = environment()
    script = pages.get_template("report/script.js").render()
    return pages.get_template("report/page.html.j2").render(
        title=" and ".join(names) if names else "Distilled datasets",
        runs=runs,
        accuracies=rows,
        seed_numbers=seed_numbers(database, run_ids),
        caveats={run["run_id"]: caveats(run, rows[run["run_id"]]) for run in runs},
        sections=[_section(data, runs_dir, keys) for data in gather(database, in_full(runs, names))],
        comparisons=[compare(database, runs[0]["run_id"], run["run_id"]) for run in runs[1:]] if names else [],
        published=published_in(row for found in rows.values() for row in found),
        script=Markup(script),  # noqa: S704 (a file of ours)
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def in_full(runs: Sequence[RowDict], names: Sequence[str]) -> Sequence[RowDict]:
    """Return which of the runs of a page of `names` it shows in full: all, or the newest where it has every run."""
    return runs if names else runs[:MOST_IN_FULL]


def published_in(rows: Iterable[RowDict]) -> list[str]:
    """Return the sources of the published numbers beside some accuracies."""
    columns = ("published_in", "near_published_in")
    return sorted({row[column] for row in rows for column in columns if row[column]})


def _section(data: RunData, runs_dir: Path, keys: Iterator[int]) -> RunSection:
    return RunSection(data, results(data), galleries(data.stages, data.images, runs_dir, keys))


def repeat_text(run: RowDict) -> str:
    """Return the command that makes a row of `runs` again: its own, or, where Python started it, one that does."""
    if str(run["command"]).startswith("frepo "):
        return run["command"]
    settings = [word for override in run["overrides"] for word in ("--set", override)]
    return shlex.join(["frepo", "run", run["spec_file"], *settings])


def terms_of(dataset: str) -> str:
    """Return the licence of a data set's images and the work to cite, or nothing where they are not known."""
    known = known_of(dataset)
    if known is None or not known.licence:
        return ""
    return f"licence of the images: {known.licence}" + (f"; to cite: {known.citation}" if known.citation else "")


def environment() -> Environment:
    """Return the templates of pages, with all that several of them need."""
    found = templates(html=True)
    found.filters["percent"] = lambda share: f"{100 * share:.1f}"
    found.filters["mebibytes"] = lambda count: f"{count / 2**20:,.0f} MiB" if count else "–"
    found.filters["seconds"] = lambda count: f"{count:,.1f} s" if count is not None else "–"
    found.filters["json"] = lambda value: json.dumps(value, indent=1, ensure_ascii=False)
    found.filters["tight"] = lambda value: json.dumps(value, separators=(",", ":"))
    found.filters["bytes"] = bytes_text
    found.globals["mean_and_std"] = percent
    found.globals["dataset_text"] = dataset_text
    found.globals["network_text"] = network_text
    found.globals["source_text"] = source_text
    found.globals["repeat_text"] = repeat_text
    found.globals["terms_of"] = terms_of
    found.globals["version"] = frepo.__version__
    found.globals["written"] = now()
    return found
