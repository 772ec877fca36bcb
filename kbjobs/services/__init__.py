"""The front door: whatever a command, a page or a Python caller does, it does through here."""
