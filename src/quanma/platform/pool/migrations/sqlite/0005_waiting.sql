-- Events are looked for by merchant, so that one's many do not stand before another's few.
-- Code that knows the steps up to 4 finds its events without an index.
-- runs from: 4

CREATE INDEX event_waiting ON event (mchid, due_at) WHERE due_at IS NOT NULL;
DROP INDEX event_due;
