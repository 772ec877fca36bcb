"""Translating a text with the language packs of the home."""
