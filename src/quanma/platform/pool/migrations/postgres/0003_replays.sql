-- Which requests came, for as long as their signatures hold: a second one with the same nonce is a replay.
-- runs from: 2

CREATE TABLE nonce_seen (
    mchid    text COLLATE "C" NOT NULL,
    nonce    text COLLATE "C" NOT NULL,
    token    bytea NOT NULL,     -- of the call that wrote it: one that is repeated knows its own row
    what     bytea NOT NULL,     -- a digest of the request, where its answer is kept; else empty
    answer   bytea,              -- NULL: none yet, or none is kept
    noted_at bigint NOT NULL,
    PRIMARY KEY (mchid, nonce)
);
CREATE INDEX nonce_seen_noted_at ON nonce_seen (noted_at);
