"""One file per job type, and what they share."""
