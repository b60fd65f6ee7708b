"""Kinds of stages: one object each, and nothing else in the program asks which kind a stage is."""

import ast
from pathlib import Path

import pytest

import frepo
from frepo.plan import kinds, work

FILES = sorted(Path(frepo.__file__).parent.rglob("*.py"))
WORKS = {name for name in vars(work) if name.endswith("Stage")}


def places_that_ask():
    """Yield (file, line) of each place outside of the plan that tells kinds of stages apart."""
    for path in FILES:
        room = path.relative_to(Path(frepo.__file__).parent).parts[0]
        if room == "plan":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
                asked = {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)}
            elif isinstance(node, ast.MatchClass):
                asked = {getattr(node.cls, "id", "")}
            elif isinstance(node, ast.Compare):
                texts = {c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and isinstance(c.value, str)}
                asks = "kind" in ast.unparse(node)
                asked = WORKS if asks and texts & set(kinds.KINDS) else set()
            else:
                continue
            if asked & WORKS:
                yield f"{path.name}:{node.lineno}"


def test_nothing_but_the_plan_tells_kinds_of_stages_apart():
    assert list(places_that_ask()) == []


@pytest.mark.parametrize("kind", kinds.KINDS.values(), ids=lambda kind: kind.name)
def test_a_kind_has_its_code_its_work_and_its_tables(kind):
    code = kind.load()
    assert all(callable(getattr(code, name)) for name in ("check", "execute", "cost"))
    works = [cls for name, cls in vars(work).items() if name in WORKS]
    assert [cls for cls in works if cls.model_fields["kind"].default == kind.name]
    schema = (Path(frepo.__file__).parent / "store" / "schema.sql").read_text()
    for table in kind.tables:
        (declared,) = [part for part in schema.split("CREATE TABLE ")[1:] if part.startswith(f"{table.name} (")]
        body = declared.split(");")[0]
        assert [column for column in table.columns if f"{column} " not in body] == []


def test_kinds_are_found_by_their_names_and_leave_files_of_their_own():
    assert {name: kind.name for name, kind in kinds.KINDS.items()} == {name: name for name in kinds.KINDS}
    files = [kind.result for kind in kinds.KINDS.values()]
    assert len(set(files)) == len(files)
