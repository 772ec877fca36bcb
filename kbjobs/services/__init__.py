"""The front door: commands, pages and Python callers do everything through this package."""
