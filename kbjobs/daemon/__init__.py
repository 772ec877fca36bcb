"""The process that claims, starts, watches and recovers; its workers; how they wake, detach and end."""
