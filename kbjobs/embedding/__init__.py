"""Text to vectors: local models and hosted ones behind one small interface."""
