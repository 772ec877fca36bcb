"""Deleting a source: what it held, its end on record, its folder, what stays."""
