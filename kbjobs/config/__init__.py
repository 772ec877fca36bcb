"""The home and what is configured in it: paths, settings, secrets, prices."""
