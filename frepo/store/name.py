"""The runs of one name: what of their directory is not yet in the database, and putting it there."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from frepo.errors import FrepoError
from frepo.rundir import record
from frepo.rundir.record import RunRecord, StageRecord
from frepo.rundir.standing import actual_status
from frepo.store.connect import atomically
from frepo.store.look import look
from frepo.store.records import (
    IMAGES,
    NEVER_STARTED,
    TOP_OF_ALL,
    image_rows,
    run_row,
    stage_row,
    status_of_run,
)
from frepo.store.rows import TABLES, Mark, digest_of, news
from frepo.store.values import Column, misfit

Row = dict[str, Any]
RUN = ("", "")
"""The mark of the records of a name's runs and of what became of their stages."""
LOOK = ("", "look")
"""The mark of finished runs: how their directory looked when they were read, and how many they are."""


@dataclass
class OfName:
    """What is to be changed for the runs of one name."""

    directory: Path
    origin: str
    """The directory of runs that it is in."""
    kinds: Mapping[str, Mapping[str, Column]]
    """Columns of every table."""
    known: Mapping[tuple[str, str], Mark]
    """How far each file of each stage has been read."""
    problems: list[str] = field(default_factory=list[str])
    _marks: dict[tuple[str, str], Mark] = field(default_factory=dict[tuple[str, str], Mark])
    _old: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """Table -> stages whose rows go."""
    _new: dict[str, list[Row]] = field(default_factory=dict[str, list[Row]])
    """Table -> rows that come."""

    def bring_up(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Change the database, in one transaction where anything is new, and return how many runs were taken."""
        looks, settled = look(self.directory, self.origin), self.known.get(LOOK)
        if settled is not None and settled.digest == looks:
            return settled.taken
        runs = list(self._runs())
        statuses = {stage: self._stage(stage) for stage in dict.fromkeys(s for run in runs for s in run.stages)}
        for stage in {stage for stage, _ in self.known} - set(statuses) - {""}:
            self._forget(stage)
        rows = [self._run_row(run, status_of_run([statuses[stage] for stage in run.stages])) for run in runs]
        places = [place for run in runs for place in self._places(run)]
        self._marks[RUN] = Mark(digest=digest_of(json.dumps([rows, places], default=str).encode()))
        if looks and not self.problems and set(statuses.values()) <= {"done"}:
            self._marks[LOOK] = Mark(digest=looks, taken=len(runs))
        if self._marks == dict(self.known) and not any(self._new.values()):
            return len(runs)
        with atomically(connection):
            if self._marks[RUN] != self.known.get(RUN):
                remove(connection, self.directory.name, ("runs", "run_stages"))
                insert(connection, "runs", rows)
                insert(connection, "run_stages", places)
            self._write(connection)
        return len(runs)

    def _runs(self) -> Iterable[RunRecord]:
        """Yield the run records that can be taken, oldest first."""
        found: list[RunRecord] = []
        for path in record.run_files(self.directory):
            try:
                run = record.read_run(path)
                if run is not None:
                    self._must_fit("runs", [self._run_row(run, NEVER_STARTED)], str(path))
                    found.append(run)
            except (FrepoError, OSError) as error:
                self.problems.append(str(error))
            except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
                self.problems.append(f"{path} is damaged ({error!r}) and left out of the database")
        return sorted(found, key=lambda run: run.created)

    def _run_row(self, run: RunRecord, status: str) -> Row:
        return run_row(self.directory.name, run, self.origin, status)

    def _places(self, run: RunRecord) -> list[Row]:
        name = self.directory.name
        run_id = f"{name}-{run.fingerprint[:8]}"
        return [{"run_id": run_id, "run": name, "stage": s, "position": i} for i, s in enumerate(run.stages)]

    def _stage(self, name: str) -> str:
        """Note what is new of a stage and return its status; of one that cannot be taken nothing stays."""
        directory = self.directory / name
        path = directory / record.STAGE_FILE
        try:
            stage = record.read_stage(directory)
            if stage is not None:
                status = actual_status(stage, directory)
                self._record(name, stage, status, path)
                few = 0 < len((stage.dataset or {}).get("class_names") or ()) <= TOP_OF_ALL
                for table in TABLES:
                    self._file(name, table, stage, without_top5=few)
                return status
        except (FrepoError, OSError) as error:
            self.problems.append(str(error))
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            self.problems.append(f"{path} is damaged ({error!r}) and left out of the database")
        self._forget(name)
        return NEVER_STARTED

    def _record(self, name: str, stage: StageRecord, status: str, path: Path) -> None:
        row, images = stage_row(self.directory.name, name, stage, status), image_rows(stage)
        mark = Mark(digest=digest_of(json.dumps([row, images], default=str).encode()))
        if mark != self.known.get((name, "")):  # what is known has fitted before
            self._must_fit("stages", [row], str(path))
            self._must_fit("images", images, str(path), IMAGES)
            self._replace("stages", name, [row])
            self._replace("images", name, [self._placed(name, image) for image in images])
        self._marks[name, ""] = mark

    def _file(self, stage: str, table: str, found_of: StageRecord, *, without_top5: bool) -> None:
        file, names = TABLES[table].file, TABLES[table].columns
        path, known = self.directory / stage / file, self.known.get((stage, file))
        try:
            found = news(path, known, found_of.results.get(file) if found_of.status == "done" else None)
            if found is None:
                if known is not None:
                    self._marks[stage, file] = known
                return
            self._must_fit(table, found.rows, str(path), names, found.first_line)
        except FrepoError as error:
            self.problems.append(str(error))
            self._old.setdefault(table, set()).add(stage)
            return
        rows = [self._placed(stage, {name: row.get(name) for name in names}) for row in found.rows]
        if without_top5 and table == "evaluations":
            rows = [{**row, "top5": None} for row in rows]
        if found.mark is not None:
            self._marks[stage, file] = found.mark
        if found.appended:
            self._new.setdefault(table, []).extend(rows)
        else:
            self._replace(table, stage, rows)

    def _must_fit(
        self, table: str, rows: Sequence[Row], where: str, names: Sequence[str] = (), first_line: int | None = None
    ) -> None:
        found = misfit(self.kinds[table], names or tuple(rows[0]), rows) if rows else None
        if found:
            line = "" if first_line is None else f", line {first_line + found[0]}"
            raise FrepoError(f"{where}{line}: {found[1]}; it is left out of the database")

    def _placed(self, stage: str, row: Row) -> Row:
        return {"run": self.directory.name, "stage": stage, **row}

    def _replace(self, table: str, stage: str, rows: list[Row]) -> None:
        self._old.setdefault(table, set()).add(stage)
        self._new.setdefault(table, []).extend(rows)

    def _forget(self, stage: str) -> None:
        """Let nothing stay of a stage, whatever was noted before."""
        for table in ("stages", "images", *TABLES):
            self._new[table] = [row for row in self._new.get(table, ()) if row["stage"] != stage]
            self._old.setdefault(table, set()).add(stage)
        self._marks = {place: mark for place, mark in self._marks.items() if place[0] != stage}

    def _write(self, connection: duckdb.DuckDBPyConnection) -> None:
        name = self.directory.name
        for table, stages in self._old.items():
            if stages := stages & {stage for stage, _ in self.known}:  # of others there is nothing yet
                sql = f"DELETE FROM {table} WHERE run = ? AND list_contains(?, stage)"  # noqa: S608 (names of ours)
                connection.execute(sql, [name, sorted(stages)])
        for table, rows in self._new.items():
            insert(connection, table, rows)
        if self._marks != dict(self.known):
            remove(connection, name, ("ingested_files",))
            marks = [{"run": name, "stage": s, "file": f, **mark._asdict()} for (s, f), mark in self._marks.items()]
            insert(connection, "ingested_files", marks)


def remove(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    tables: Sequence[str] = ("runs", "run_stages", "stages", "images", "ingested_files", *TABLES),
) -> None:
    """Delete the rows of the runs of a name."""
    for table in tables:
        column = "name" if table == "runs" else "run"
        connection.execute(f"DELETE FROM {table} WHERE {column} = ?", [name])  # noqa: S608 (names of ours)


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Row]) -> None:
    """Insert rows of the same columns in one statement: column by column, as lists that DuckDB unnests."""
    if not rows:
        return
    names = list(rows[0])
    marks = ", ".join("unnest(?)" for _ in names)
    statement = f"INSERT INTO {table} ({', '.join(names)}) SELECT {marks}"
    connection.execute(statement, [[row[name] for row in rows] for name in names])
