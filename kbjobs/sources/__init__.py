"""Sources as a user has them: registered, moved, deleted."""
