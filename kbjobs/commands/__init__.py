"""One file per verb the user types: renders, never decides."""
