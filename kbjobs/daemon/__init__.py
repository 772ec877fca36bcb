"""The daemon, which claims, starts, watches and recovers jobs; its workers; how both wake, detach and end."""
