"""The home and its configuration: paths, settings, secrets, prices."""
