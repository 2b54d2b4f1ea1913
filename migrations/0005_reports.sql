-- What a report says beyond how far a message has come: the service's own id of it, and why it will not arrive. A report
-- may come before its message's answer, and settles the delivery if that answer is lost.
ALTER TABLE arrival ADD COLUMN remote_id TEXT;
ALTER TABLE arrival ADD COLUMN reason TEXT;
