"""What kbjobs asks of the operating system: child processes, files that last."""
