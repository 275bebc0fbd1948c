-- What was planned, sent and answered for one upload. One file, one stock, one input.
--
--   planned ──send──▶ sending ──answer──▶ answered
--      ▲              │ │  ▲
--      └─not accepted─┘ │  └──send, same number, same bytes──┐
--                       └──no answer, or killed and reopened──▶ unknown
--
-- Not accepted, a batch that ever was unknown is unknown again. A refused number is replaced on the way back;
-- if it was refused because the platform knew it, the way leads to unknown.
-- A row of the input is named by its input's number × 2^40 + its row there.

CREATE TABLE upload (
    only            INTEGER PRIMARY KEY CHECK (only = 1),
    state           TEXT NOT NULL,            -- planning, planned
    target          TEXT NOT NULL,
    mchid           TEXT NOT NULL,
    stock_id        TEXT NOT NULL,
    inputs          TEXT NOT NULL,            -- JSON: name, fingerprint, how it was read
    number_prefix   TEXT NOT NULL,            -- of every upload_request_no
    learned_rate    REAL,                     -- requests a second that the platform took
    seconds         REAL NOT NULL DEFAULT 0,  -- spent sending, over all runs
    requests        INTEGER NOT NULL DEFAULT 0,
    retries         INTEGER NOT NULL DEFAULT 0,
    -- Rows, in all and by what became of them: moved in the transaction that settles them.
    row_count       INTEGER NOT NULL DEFAULT 0,
    stored_count    INTEGER NOT NULL DEFAULT 0,
    existed_count   INTEGER NOT NULL DEFAULT 0,
    duplicate_count INTEGER NOT NULL DEFAULT 0,
    rejected_count  INTEGER NOT NULL DEFAULT 0,
    open_batches    INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE batch (
    batch_no         INTEGER PRIMARY KEY,
    state            TEXT NOT NULL DEFAULT 'planned',
    renumbered       INTEGER NOT NULL DEFAULT 0,  -- times that the number was refused and replaced
    attempts         INTEGER NOT NULL DEFAULT 0,
    unknown_attempts INTEGER NOT NULL DEFAULT 0,  -- of these, how many may have taken effect without our knowing
    unknown_of_number INTEGER NOT NULL DEFAULT 0, -- of these, how many under the present number
    code_count       INTEGER NOT NULL,
    codes            TEXT NOT NULL,               -- one a line
    rows             TEXT NOT NULL,               -- runs: 1-200,203
    sent_at          REAL,
    answered_at      REAL,
    others           TEXT                         -- JSON: the codes that were not newly stored, and why
);
CREATE INDEX batch_state ON batch (state, batch_no);

CREATE TABLE duplicate (row INTEGER PRIMARY KEY, first_row INTEGER NOT NULL, text TEXT NOT NULL);
CREATE TABLE rejected (row INTEGER PRIMARY KEY, text TEXT NOT NULL, reason TEXT NOT NULL, reason_code TEXT NOT NULL);
