-- Events are looked for by merchant, so that one's many do not stand before another's few.
-- Older code finds its events without an index.
-- runs from: 2

DROP INDEX event_due;
CREATE INDEX event_due ON event (mchid, due_at, stock_id) WHERE due_at IS NOT NULL;
