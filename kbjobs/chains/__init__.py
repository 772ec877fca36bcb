"""Combined jobs: the runner of phases with weighted progress."""
