"""Turn text into vectors, behind one small interface."""
