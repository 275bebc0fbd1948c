-- Events are looked for by merchant, so that one's many do not stand before another's few.
-- Code that knows the steps up to 4 finds its events without an index.
-- runs from: 4

DROP INDEX event_due;
CREATE INDEX event_due ON event (mchid, due_at) WHERE due_at IS NOT NULL;
