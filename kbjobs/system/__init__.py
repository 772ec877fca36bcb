"""The interface to the operating system: child processes, durable files, mounts."""
