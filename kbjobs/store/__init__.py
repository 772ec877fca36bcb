"""Every SQL statement in the project: the queue, the history, the ledger of a source."""
