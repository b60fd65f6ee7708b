"""Several processes, one database."""

import pytest

pytestmark = pytest.mark.usefixtures("commands_compile_quickly")


def test_two_specs_at_the_same_time_lose_nothing_while_a_third_process_reads(workplace):
    specs = [workplace.spec(name) for name in ("one", "two")]
    writers = [workplace.start("run", spec, "--checkpoint-every", 5, "--log-every", 1) for spec in specs]
    reads = 0
    while any(writer.poll() is None for writer in writers):
        if (workplace.path / "results.duckdb").exists():
            assert workplace.rows("SELECT count(*) AS n FROM runs")[0]["n"] in (0, 1, 2)
            reads += 1
    for writer in writers:
        _, err = writer.communicate()
        assert writer.returncode == 0, err
        assert "warning" not in err
    assert reads
    sql = "SELECT run, name, count(*) AS n FROM metrics GROUP BY ALL ORDER BY ALL"
    found = workplace.rows(sql)
    assert [(row["run"], row["name"], row["n"]) for row in found] == [
        (run, name, n)
        for run in ("one", "two")
        for name, n in (
            *(("krr_accuracy", 60), ("krr_error", 60), ("loss", 60)),
            *(("test_accuracy", 10), ("train_loss", 80)),
        )
    ]
    accuracies = "SELECT name, source, num_models FROM accuracy_table ORDER BY ALL"
    rows = workplace.rows(accuracies)
    assert [(row["name"], row["source"], row["num_models"]) for row in rows] == [
        (run, source, 2) for run in ("one", "two") for source in ("distilled", "random")
    ]
