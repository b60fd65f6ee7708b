-- Schema of the results database. Everything here can be rebuilt from the run directories by `frepo ingest`.
-- Times are UTC.

CREATE TABLE frepo_schema (version INTEGER NOT NULL);

-- How far each file is in the tables below, so that it is read again only where it has changed: for rows as JSON lines
-- their first `taken` bytes. The file '' of a stage is its record, that of a run its records with all its stages'.
CREATE TABLE ingested_files (
    run VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    file VARCHAR NOT NULL,
    size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    inode UBIGINT NOT NULL,
    taken BIGINT NOT NULL,
    digest VARCHAR NOT NULL
);

-- One row per spec that was run.
CREATE TABLE runs (
    run_id VARCHAR NOT NULL,           -- name and start of the fingerprint
    name VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    experiment VARCHAR NOT NULL,       -- fingerprint of the spec without its name and its seed
    seed BIGINT NOT NULL,
    dataset VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    ipc INTEGER,                       -- images per class; NULL where all real images are used
    status VARCHAR NOT NULL,           -- running, interrupted, stopped, failed, done
    created_at TIMESTAMP NOT NULL,
    command VARCHAR,
    host VARCHAR,
    frepo_version VARCHAR,
    git_commit VARCHAR,
    git_dirty BOOLEAN,
    spec JSON NOT NULL,                -- resolved, defaults included
    runs_dir VARCHAR NOT NULL,         -- the directory of runs that it is in
    spec_file VARCHAR NOT NULL,
    spec_text VARCHAR NOT NULL,
    overrides VARCHAR[] NOT NULL,
    provenance JSON NOT NULL,
    sweep VARCHAR,                     -- NULL, and swept an empty object, where the run belongs to no sweep
    swept JSON NOT NULL                -- axis -> value
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
    image_shape INTEGER[],             -- height, width, channels
    budget_bytes BIGINT,               -- what the distilled set costs that it made: images, soft labels, further learned
                                       -- arrays; NULL for other stages, and where an earlier version recorded none
    identity JSON NOT NULL,            -- what was hashed
    attempts JSON NOT NULL
);

CREATE TABLE metrics (
    run VARCHAR NOT NULL, stage VARCHAR NOT NULL, step BIGINT NOT NULL, name VARCHAR NOT NULL, value DOUBLE
);

-- One row per trained network and predictor; accuracies are shares in 0..1 of the whole test set.
CREATE TABLE evaluations (
    run VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    model INTEGER NOT NULL,
    architecture VARCHAR NOT NULL,
    normalization VARCHAR NOT NULL,
    pooling VARCHAR,                   -- NULL, like the next two, where the architecture has no such thing
    width INTEGER,
    depth INTEGER,
    source VARCHAR NOT NULL,           -- distilled, random, herding, k_center, k_means, ..._features, full
    predictor VARCHAR NOT NULL,        -- network, krr
    labels VARCHAR NOT NULL,           -- soft, hard
    loss VARCHAR,                      -- mse, xent, soft_xent; NULL, like the next four, in rows of old versions
    optimizer VARCHAR,
    learning_rate DOUBLE,
    augmentation VARCHAR,              -- operations joined by +, or none
    augmentation_mode VARCHAR,         -- one, all
    seed BIGINT NOT NULL,
    steps BIGINT NOT NULL,
    top1 DOUBLE NOT NULL,
    top5 DOUBLE,                       -- NULL where five classes or fewer make it 1 for any network
    n_test INTEGER NOT NULL
);

-- Test images by true and predicted class, where there are any; class names stand in stages.class_names.
CREATE TABLE confusions (
    run VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    model INTEGER NOT NULL,
    predictor VARCHAR NOT NULL,
    label INTEGER NOT NULL,
    predicted INTEGER NOT NULL,
    count BIGINT NOT NULL
);

-- Numbers computed from several evaluations.
CREATE TABLE scores (
    run VARCHAR NOT NULL, stage VARCHAR NOT NULL, name VARCHAR NOT NULL, value DOUBLE NOT NULL, standard_error DOUBLE NOT NULL
);

-- Class-incremental learning: one row per network, predictor, and step whose classes are tested (task) after a step.
CREATE TABLE continual (
    run VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    seed BIGINT NOT NULL,
    source VARCHAR NOT NULL,           -- whose memory: distilled, random, herding, ..., full
    predictor VARCHAR NOT NULL,
    model INTEGER NOT NULL,
    step INTEGER NOT NULL,             -- after so many steps,
    num_steps INTEGER NOT NULL,
    task INTEGER NOT NULL,             -- on the test images of this step's classes,
    steps BIGINT NOT NULL,
    correct BIGINT NOT NULL,           -- so many of n_test are right, among all classes seen
    n_test BIGINT NOT NULL
);

-- Membership inference: one row per attacked network and attack; rates are shares in 0..1.
CREATE TABLE attacks (
    run VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    chunk_index INTEGER NOT NULL,      -- which training images are members
    source VARCHAR NOT NULL,           -- networks trained on: distilled (from the members), members
    train_steps BIGINT NOT NULL,
    model INTEGER NOT NULL,
    attack VARCHAR NOT NULL,
    test_accuracy DOUBLE NOT NULL,     -- of the attacked network
    auc DOUBLE NOT NULL,
    auc_low DOUBLE NOT NULL,           -- 95% confidence interval of the AUC over examples
    auc_high DOUBLE NOT NULL,
    advantage DOUBLE NOT NULL,         -- largest difference of true and false positive rate
    tpr_at_1_in_100 DOUBLE NOT NULL,   -- true positive rate at 1% false positives
    tpr_at_1_in_1000 DOUBLE NOT NULL,
    members INTEGER NOT NULL,
    non_members INTEGER NOT NULL
);

-- What the literature reports, in percent, with where it was found: on images of so many pixels a side, by convolutional
-- networks of that width and depth with average pooling. A set of the budget `parametrised` is generated from parameters that
-- take as many bytes as `ipc` images of each class, and has more images than that.
CREATE TABLE published (
    method VARCHAR NOT NULL,
    dataset VARCHAR NOT NULL,
    ipc INTEGER NOT NULL,
    resolution INTEGER NOT NULL,
    width INTEGER,                     -- NULL, like depth, where we do not know
    depth INTEGER,
    metric VARCHAR NOT NULL,
    mean DOUBLE NOT NULL,
    std DOUBLE,
    budget VARCHAR NOT NULL,           -- images, parametrised
    source VARCHAR NOT NULL
);

-- Quantiles of Student's distribution at 97.5%, by degrees of freedom, up to 1,000; 1.96 beyond. Filled when made.
CREATE TABLE student (degrees INTEGER NOT NULL, quantile DOUBLE NOT NULL);

CREATE TABLE images (
    run VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    path VARCHAR NOT NULL,             -- below the stage's directory
    view VARCHAR NOT NULL,             -- pixels, or inputs: as the network gets them, where they are whitened
    sha256 VARCHAR NOT NULL,
    step BIGINT NOT NULL,
    n_rows INTEGER NOT NULL,           -- one for each class
    n_columns INTEGER NOT NULL
);

-- Mean, sample std and half of the 95% confidence interval of the mean over networks, with the top-1 of each.
-- `part` says what of the data set is used where that is not the whole of it, `resolution` is in pixels a side. Rows that
-- differ in their seed only share `setting`, a digest of the experiment and of all that an evaluation is told but the seed.
--
-- `budget_bytes` is what the set costs that networks were trained on (see `stages`), whatever of it an evaluation leaves
-- aside; NULL for all real images.
--
-- Where there is one, the published number for the same task stands beside (published_*, as shares): the same method,
-- images per class, whole data set, resolution and network, though not always the same recipe. Where it is nearly the
-- same, the number is in near_published_* instead, and near_published_differs says in what. Numbers of parametrised sets are
-- in neither: the sets of a run are images.
CREATE VIEW accuracy_table AS
WITH parts AS (
    SELECT run, stage, identity->>'$.architecture.precision' AS precision,
        CASE WHEN image_shape[1] = image_shape[2] THEN image_shape[1] ELSE (dataset->>'$.resolution')::INTEGER END
            AS resolution,
        nullif(concat_ws(', ',
            dataset->>'$.path',
            dataset->>'$.config',
            'trained on ' || (dataset->>'$.train_split'),
            'tested on ' || (dataset->>'$.test_split'),
            'labels of ' || (dataset->>'$.label_column'),
            'images of ' || (dataset->>'$.image_column'),
            'commit ' || left(dataset->>'$.revision', 7),
            format('{:g}% of them for testing', 100 * (dataset->>'$.test_fraction')::DOUBLE),
            nullif(json_array_length(dataset, '$.classes'), 0) || ' classes',
            format('{:g}% of the training images', 100 * (dataset->>'$.train_fraction')::DOUBLE),
            (dataset->>'$.chunk_size') || ' training images, piece ' || (dataset->>'$.chunk_index'),
            format('{:g}% of the training images held out', 100 * (identity->>'$.validation_fraction')::DOUBLE)
        ), '') AS part,
        json_array(dataset, identity->'$.architecture', identity->'$.recipe', identity->'$.epochs',
            identity->'$.validation_fraction')::VARCHAR AS told
    FROM (SELECT *, identity->'$.dataset' AS dataset FROM stages)
), needs AS (
    SELECT run, stage, unnest(TRY_CAST(identity->'$.needs' AS VARCHAR[])) AS fingerprint FROM stages
), sets AS (
    SELECT n.run, n.stage, max(d.budget_bytes) AS budget_bytes
    FROM needs n JOIN stages d ON d.run = n.run AND d.fingerprint = n.fingerprint GROUP BY ALL
), means AS (
    SELECT
        r.run_id, r.name, r.dataset, t.part, t.resolution, r.method, r.ipc, d.budget_bytes, r.seed,
        e.source, e.architecture, e.pooling, e.width, e.depth, e.normalization, t.precision, e.predictor, e.labels,
        e.loss, e.optimizer, e.learning_rate, e.augmentation, e.augmentation_mode, e.steps,
        count(*) AS num_models,
        avg(e.top1) AS top1_mean, stddev_samp(e.top1) AS top1_std, min(e.top1) AS top1_min, max(e.top1) AS top1_max,
        avg(e.top5) AS top5_mean, stddev_samp(e.top5) AS top5_std, list(e.top1 ORDER BY e.model) AS top1_each,
        any_value(e.n_test) AS n_test,
        r.experiment, md5(json_array(r.experiment, t.told, e.source, e.predictor, e.labels)::VARCHAR) AS setting,
        e.stage, any_value(s.position) AS position, any_value(r.created_at) AS created_at,
        CASE WHEN e.source <> 'distilled' THEN e.source WHEN r.method <> 'imported' THEN r.method END AS as_published
    FROM runs r
    JOIN run_stages s ON s.run_id = r.run_id
    JOIN evaluations e ON e.run = s.run AND e.stage = s.stage
    JOIN parts t ON t.run = s.run AND t.stage = s.stage
    LEFT JOIN sets d ON d.run = s.run AND d.stage = s.stage
    GROUP BY ALL
), beside AS (
    SELECT m.*, p.mean / 100 AS mean, p.std / 100 AS std, p.source AS found_in,
        nullif(concat_ws(', ',
            m.part,
            CASE WHEN m.resolution <> p.resolution THEN format('{} pixels, not {}', m.resolution, p.resolution) END,
            CASE WHEN m.width IS DISTINCT FROM p.width THEN format('width {}, not {}', m.width, p.width) END,
            CASE WHEN m.depth IS DISTINCT FROM p.depth THEN format('depth {}, not {}', m.depth, p.depth) END,
            CASE WHEN m.pooling <> 'average' THEN 'pooling ' || m.pooling END,
            CASE WHEN m.source = 'distilled' AND m.labels = 'hard' THEN 'hard labels' END
        ), '') AS differs
    FROM means m
    LEFT JOIN published p ON p.method = m.as_published AND p.dataset = regexp_replace(m.dataset, ':[0-9].*', '')
        AND p.ipc = m.ipc AND p.metric = 'test_accuracy_percent' AND p.budget = 'images'
        AND m.architecture IN ('conv', 'dcconv') AND m.predictor = 'network'
)
SELECT
    m.* EXCLUDE (
        top1_each, experiment, setting, stage, position, created_at, as_published, mean, std, found_in, differs
    ),
    m.top1_std / sqrt(m.num_models) * coalesce(t.quantile, 1.96) AS top1_ci95, m.top1_each,
    CASE WHEN differs IS NULL THEN mean END AS published_top1, CASE WHEN differs IS NULL THEN std END AS published_std,
    CASE WHEN differs IS NULL THEN found_in END AS published_in,
    CASE WHEN differs IS NOT NULL THEN mean END AS near_published_top1,
    CASE WHEN differs IS NOT NULL THEN std END AS near_published_std,
    CASE WHEN differs IS NOT NULL THEN found_in END AS near_published_in,
    CASE WHEN mean IS NOT NULL THEN differs END AS near_published_differs,
    m.experiment, m.setting, m.stage, m.position, m.created_at
FROM beside m
LEFT JOIN student t ON t.degrees = m.num_models - 1
ORDER BY m.created_at, m.run_id, m.position, m.predictor;

-- Accuracies over seeds of the whole experiment, of the runs with the given ids, or of all for NULL. One row for each
-- experiment and evaluation: runs that differ in their names and seeds only are seeds of one experiment, and runs of one
-- seed count once. There are two numbers of samples: `num_seeds`, and `num_models`, the fewest networks of a seed
-- (`most_models` the most).
--   top1_mean, top1_seeds_std, top1_seeds_ci95   of the seeds' means: mean, sample std, half of the 95% interval of the mean
--   top1_std, top1_ci95                          std over the networks of a seed, pooled; half of the 95% interval of the
--                                                mean over networks for these very seeds, which leaves out what seeds differ
-- Lists are in the order of the seeds; `run_ids` and `names` are those of all runs, also where one seed has several.
CREATE MACRO seeds_of(ids) AS TABLE
WITH chosen AS (
    SELECT * FROM accuracy_table WHERE ids IS NULL OR list_contains(ids, run_id)
), holders AS (
    SELECT setting, list(DISTINCT run_id ORDER BY run_id) AS run_ids, list(DISTINCT name ORDER BY name) AS names
    FROM chosen GROUP BY setting
), seeds AS (
    SELECT * FROM chosen
    QUALIFY row_number() OVER (PARTITION BY setting, seed ORDER BY num_models DESC, created_at DESC, run_id) = 1
), means AS (
    SELECT experiment, setting, any_value(dataset) AS dataset, any_value(part) AS part,
        any_value(resolution) AS resolution, any_value(method) AS method, any_value(ipc) AS ipc,
        any_value(budget_bytes) AS budget_bytes, any_value(source) AS source, any_value(architecture) AS architecture, any_value(pooling) AS pooling,
        any_value(width) AS width, any_value(depth) AS depth, any_value(normalization) AS normalization,
        any_value(precision) AS precision, any_value(predictor) AS predictor, any_value(labels) AS labels,
        any_value(loss) AS loss, any_value(optimizer) AS optimizer,
        -- NULL where each seed has chosen its own
        CASE WHEN count(DISTINCT learning_rate) = 1 THEN any_value(learning_rate) END AS learning_rate,
        any_value(augmentation) AS augmentation, any_value(augmentation_mode) AS augmentation_mode,
        any_value(steps) AS steps,
        count(*) AS num_seeds, min(num_models) AS num_models, max(num_models) AS most_models,
        avg(top1_mean) AS top1_mean, stddev_samp(top1_mean) AS top1_seeds_std,
        sqrt(sum((num_models - 1) * top1_std ** 2) / nullif(sum(num_models - 1), 0)) AS top1_std,
        avg(top5_mean) AS top5_mean, stddev_samp(top5_mean) AS top5_seeds_std,
        sqrt(sum((num_models - 1) * top5_std ** 2) / nullif(sum(num_models - 1), 0)) AS top5_std,
        list(seed ORDER BY seed) AS seeds, list(top1_mean ORDER BY seed) AS top1_each_seed,
        any_value(n_test) AS n_test,
        any_value(published_top1) AS published_top1, any_value(published_std) AS published_std,
        any_value(published_in) AS published_in, any_value(near_published_top1) AS near_published_top1,
        any_value(near_published_std) AS near_published_std, any_value(near_published_in) AS near_published_in,
        any_value(near_published_differs) AS near_published_differs,
        min(position) AS position, min(created_at) AS created_at,
        sum(num_models - 1) AS degrees, sqrt(sum(1 / num_models)) / count(*) AS error
    FROM seeds GROUP BY experiment, setting
)
SELECT m.* EXCLUDE (position, created_at, degrees, error),
    m.top1_seeds_std / sqrt(m.num_seeds) * coalesce(s.quantile, 1.96) AS top1_seeds_ci95,
    m.top1_std * m.error * coalesce(n.quantile, 1.96) AS top1_ci95,
    h.run_ids, h.names, m.position, m.created_at
FROM means m
JOIN holders h USING (setting)
LEFT JOIN student s ON s.degrees = m.num_seeds - 1
LEFT JOIN student n ON n.degrees = m.degrees
ORDER BY m.created_at, h.run_ids[1], m.position, m.predictor;

-- All seeds of all experiments.
CREATE VIEW seed_table AS SELECT * FROM seeds_of(NULL);

-- Where a run evaluates several networks alike: one row for each source, network and predictor. Networks are several
-- where anything of their architecture differs.
CREATE VIEW cross_architecture AS
SELECT
    run_id, name, dataset, ipc, source, architecture, normalization, pooling, width, depth, precision, predictor, labels,
    loss, optimizer, learning_rate, augmentation, augmentation_mode, steps, num_models, top1_mean, top1_std, top1_ci95,
    setting, stage, position, created_at
FROM accuracy_table
QUALIFY count(DISTINCT (architecture, normalization, pooling, width, depth, precision)) OVER (
    PARTITION BY run_id, source, predictor, labels, loss, optimizer, augmentation, augmentation_mode
) > 1
ORDER BY created_at, run_id, source, position;

-- The same over seeds: the rows of `seed_table` of these evaluations.
CREATE VIEW cross_architecture_seeds AS
SELECT * FROM seed_table WHERE setting IN (SELECT setting FROM cross_architecture)
ORDER BY created_at, experiment, source, position;

-- All methods on one data set, or the same part of it, and size: our means over the seeds of an experiment and those of
-- the literature, best first. Sets of images, which those of runs are, and parametrised ones are ranked apart: for as many
-- bytes the latter have more images.
CREATE VIEW leaderboard AS
SELECT dataset, part, resolution, ipc, budget,
    rank() OVER (PARTITION BY dataset, part, resolution, ipc, budget ORDER BY top1_mean DESC) AS rank,
    * EXCLUDE (dataset, part, resolution, ipc, budget)
FROM (
    SELECT
        regexp_replace(dataset, ':[0-9].*', '') AS dataset, part, resolution, ipc, 'images' AS budget,
        CASE WHEN source = 'distilled' THEN method ELSE source END AS method, 'run' AS origin, budget_bytes,
        top1_mean, top1_seeds_std, top1_seeds_ci95, num_seeds, top1_std, top1_ci95, num_models, architecture,
        normalization, width, depth, predictor, labels, array_to_string(run_ids, ', ') AS found_in
    FROM seed_table
    UNION ALL
    SELECT dataset, NULL, resolution, ipc, budget, method, 'published', NULL, mean / 100, NULL, NULL, NULL, std / 100,
        NULL, NULL, NULL, NULL, width, depth, NULL, NULL, source
    FROM published WHERE metric = 'test_accuracy_percent'
)
ORDER BY dataset, part NULLS FIRST, resolution, ipc, budget, rank, method, found_in;

-- Accuracy by class: the share of its test images that were recognised, over networks.
CREATE VIEW class_accuracy AS
SELECT
    s.run_id, c.stage, c.predictor, c.label, any_value(t.class_names[c.label + 1]) AS class_name,
    count(*) AS num_models, avg(c.accuracy) AS accuracy_mean, stddev_samp(c.accuracy) AS accuracy_std
FROM (
    SELECT run, stage, model, predictor, label,
        sum(CASE WHEN predicted = label THEN count ELSE 0 END)::DOUBLE / sum(count) AS accuracy
    FROM confusions GROUP BY ALL
) c
JOIN run_stages s ON s.run = c.run AND s.stage = c.stage
JOIN stages t ON t.run = c.run AND t.stage = c.stage
GROUP BY s.run_id, s.position, c.stage, c.predictor, c.label
ORDER BY s.run_id, s.position, c.predictor, c.label;

-- After each step of each seed the accuracy on all classes seen, the mean over networks.
CREATE VIEW continual_seeds AS
SELECT run_id, any_value(name) AS name, any_value(dataset) AS dataset, any_value(ipc) AS ipc, source, predictor, seed,
    step, num_steps, avg(accuracy) AS accuracy, count(*) AS num_models, any_value(created_at) AS created_at
FROM (
    SELECT s.run_id, any_value(r.name) AS name, any_value(r.dataset) AS dataset, any_value(r.ipc) AS ipc,
        any_value(r.created_at) AS created_at, c.source, c.predictor, c.seed, c.model, c.step, c.num_steps,
        sum(c.correct) / sum(c.n_test) AS accuracy
    FROM continual c
    JOIN run_stages s ON s.run = c.run AND s.stage = c.stage
    JOIN runs r ON r.run_id = s.run_id
    GROUP BY s.run_id, c.source, c.predictor, c.seed, c.model, c.step, c.num_steps
)
GROUP BY run_id, source, predictor, seed, step, num_steps
ORDER BY created_at, run_id, predictor, source, seed, step;

-- The same over seeds, mean and sample std; over_random: what a memory has over the random one of the same seed,
-- whose classes came in the same order.
CREATE VIEW continual_accuracy AS
SELECT s.run_id, any_value(s.name) AS name, any_value(s.dataset) AS dataset, any_value(s.ipc) AS ipc, s.source,
    s.predictor, s.step, s.num_steps, count(*) AS num_seeds, any_value(s.num_models) AS num_models,
    avg(s.accuracy) AS accuracy_mean, stddev_samp(s.accuracy) AS accuracy_std,
    avg(s.accuracy - random.accuracy) AS over_random_mean, stddev_samp(s.accuracy - random.accuracy) AS over_random_std,
    any_value(s.created_at) AS created_at
FROM continual_seeds s
LEFT JOIN continual_seeds random ON random.source = 'random' AND s.source <> 'random' AND random.run_id = s.run_id
    AND random.predictor = s.predictor AND random.seed = s.seed AND random.step = s.step
GROUP BY s.run_id, s.source, s.predictor, s.step, s.num_steps
ORDER BY any_value(s.created_at), s.run_id, s.predictor, s.source, s.step;

-- A course of steps in two numbers, over seeds: the accuracy after a step, averaged over the steps; and forgetting, how
-- much of its best accuracy a step's classes have lost at the end, averaged over all steps but the last. `accuracies`
-- are those after each step.
CREATE VIEW continual_summary AS
WITH tasks AS (
    SELECT s.run_id, c.source, c.predictor, c.seed, c.model, c.step, c.num_steps, c.task, c.correct / c.n_test AS accuracy
    FROM continual c JOIN run_stages s ON s.run = c.run AND s.stage = c.stage
), best AS (
    SELECT run_id, source, predictor, seed, model, task,
        max(accuracy) FILTER (WHERE step < num_steps) - max(accuracy) FILTER (WHERE step = num_steps) AS lost
    FROM tasks WHERE task < num_steps GROUP BY run_id, source, predictor, seed, model, task
), forgetting AS (
    SELECT run_id, source, predictor, seed, avg(lost) AS forgetting FROM best GROUP BY ALL
), averages AS (
    SELECT run_id, any_value(name) AS name, source, predictor, seed, avg(accuracy) AS average,
        any_value(num_models) AS num_models, any_value(created_at) AS created_at
    FROM continual_seeds GROUP BY run_id, source, predictor, seed
), curves AS (
    SELECT run_id, source, predictor, list(accuracy_mean ORDER BY step) AS accuracies
    FROM continual_accuracy GROUP BY run_id, source, predictor
)
SELECT a.run_id, any_value(a.name) AS name, a.source, a.predictor, count(*) AS num_seeds,
    any_value(a.num_models) AS num_models,
    avg(a.average) AS average_accuracy_mean, stddev_samp(a.average) AS average_accuracy_std,
    avg(f.forgetting) AS forgetting_mean, stddev_samp(f.forgetting) AS forgetting_std,
    any_value(c.accuracies) AS accuracies
FROM averages a
JOIN forgetting f USING (run_id, source, predictor, seed)
JOIN curves c USING (run_id, source, predictor)
GROUP BY a.run_id, a.source, a.predictor
ORDER BY any_value(a.created_at), a.run_id, a.predictor, average_accuracy_mean DESC;

-- Attacks by training length: means over networks and chunks, stds over chunks (NULL for a single chunk).
CREATE VIEW attack_table AS
WITH chunks AS (
    SELECT s.run_id, a.source, a.train_steps, a.attack, a.chunk_index, count(*) AS num_models,
        avg(a.auc) AS auc, min(a.auc_low) AS auc_low, max(a.auc_high) AS auc_high, avg(a.advantage) AS advantage,
        avg(a.tpr_at_1_in_100) AS tpr_at_1_in_100, avg(a.tpr_at_1_in_1000) AS tpr_at_1_in_1000,
        avg(a.test_accuracy) AS test_accuracy, any_value(a.members) AS members, any_value(a.non_members) AS non_members
    FROM attacks a JOIN run_stages s ON s.run = a.run AND s.stage = a.stage
    GROUP BY s.run_id, a.source, a.train_steps, a.attack, a.chunk_index
)
SELECT c.run_id, any_value(r.name) AS name, any_value(r.dataset) AS dataset, c.attack, c.train_steps, c.source,
    count(*) AS num_chunks, any_value(c.num_models) AS num_models,
    avg(c.test_accuracy) AS test_accuracy_mean, stddev_samp(c.test_accuracy) AS test_accuracy_std,
    avg(c.auc) AS auc_mean, stddev_samp(c.auc) AS auc_std, min(c.auc_low) AS auc_low, max(c.auc_high) AS auc_high,
    avg(c.advantage) AS advantage_mean, stddev_samp(c.advantage) AS advantage_std,
    avg(c.tpr_at_1_in_100) AS tpr_at_1_in_100, avg(c.tpr_at_1_in_1000) AS tpr_at_1_in_1000,
    any_value(c.members) AS members, any_value(c.non_members) AS non_members
FROM chunks c JOIN runs r USING (run_id)
GROUP BY c.run_id, c.attack, c.train_steps, c.source
ORDER BY any_value(r.created_at), c.run_id, c.attack, c.train_steps, c.source;
