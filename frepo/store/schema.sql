-- Schema of the results database. Everything here can be rebuilt from the run directories by `frepo ingest`.
-- Times are UTC.

CREATE TABLE frepo_schema (version INTEGER NOT NULL);

-- One row per spec that was run.
CREATE TABLE runs (
    run_id VARCHAR NOT NULL,           -- name and start of the fingerprint
    name VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    seed BIGINT NOT NULL,
    dataset VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    ipc INTEGER NOT NULL,
    status VARCHAR NOT NULL,           -- running, interrupted, stopped, failed, done
    created_at TIMESTAMP NOT NULL,
    command VARCHAR,
    host VARCHAR,
    frepo_version VARCHAR,
    git_commit VARCHAR,
    git_dirty BOOLEAN,
    spec JSON NOT NULL,                -- resolved, defaults included
    spec_file VARCHAR NOT NULL,
    spec_text VARCHAR NOT NULL,
    overrides VARCHAR[] NOT NULL,
    provenance JSON NOT NULL
);

-- A stage can belong to several specs of one name: a changed [[application]] keeps the distilled data.
CREATE TABLE run_stages (run_id VARCHAR NOT NULL, run VARCHAR NOT NULL, stage VARCHAR NOT NULL, position INTEGER NOT NULL);

-- In every table below, (run, stage) is the directory runs/<run>/<stage>.
CREATE TABLE stages (
    run VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    label VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    step BIGINT NOT NULL,
    steps BIGINT,
    started_at TIMESTAMP,
    ended_at TIMESTAMP,
    wall_s DOUBLE,                     -- summed over the attempts that ended
    device VARCHAR,
    peak_host_bytes BIGINT,
    peak_device_bytes BIGINT,
    dataset_fingerprint VARCHAR,
    class_names VARCHAR[],
    identity JSON NOT NULL,            -- what was hashed
    attempts JSON NOT NULL
);

CREATE TABLE metrics (
    run VARCHAR NOT NULL, stage VARCHAR NOT NULL, step BIGINT NOT NULL, name VARCHAR NOT NULL, value DOUBLE
);

-- One row per trained network; accuracies are shares in 0..1 of the whole test set.
CREATE TABLE evaluations (
    run VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    model INTEGER NOT NULL,
    architecture VARCHAR NOT NULL,
    normalization VARCHAR NOT NULL,
    width INTEGER NOT NULL,
    depth INTEGER NOT NULL,
    source VARCHAR NOT NULL,           -- distilled, random
    predictor VARCHAR NOT NULL,        -- network
    labels VARCHAR NOT NULL,           -- soft, hard
    seed BIGINT NOT NULL,
    steps BIGINT NOT NULL,
    top1 DOUBLE NOT NULL,
    top5 DOUBLE NOT NULL,
    n_test INTEGER NOT NULL
);

CREATE TABLE images (
    run VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    path VARCHAR NOT NULL,             -- below the stage's directory
    sha256 VARCHAR NOT NULL,
    step BIGINT NOT NULL,
    n_rows INTEGER NOT NULL,           -- one for each class
    n_columns INTEGER NOT NULL
);

-- Mean and sample deviation over networks.
CREATE VIEW accuracy_table AS
SELECT
    r.run_id, r.name, r.dataset, r.method, r.ipc, r.seed,
    e.source, e.architecture, e.width, e.depth, e.normalization, e.predictor, e.labels, e.steps,
    count(*) AS num_models,
    avg(e.top1) AS top1_mean, stddev_samp(e.top1) AS top1_std, min(e.top1) AS top1_min, max(e.top1) AS top1_max,
    avg(e.top5) AS top5_mean, stddev_samp(e.top5) AS top5_std,
    any_value(e.n_test) AS n_test,
    e.stage, any_value(s.position) AS position, any_value(r.created_at) AS created_at
FROM runs r
JOIN run_stages s ON s.run_id = r.run_id
JOIN evaluations e ON e.run = s.run AND e.stage = s.stage
GROUP BY r.run_id, r.name, r.dataset, r.method, r.ipc, r.seed, e.source, e.architecture, e.width, e.depth,
    e.normalization, e.predictor, e.labels, e.steps, e.stage
ORDER BY created_at, r.run_id, position;
