"""Bringing a source into its ledger: enumerate, compare, read; metadata."""
