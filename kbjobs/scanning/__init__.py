"""Scanning a source into its ledger: enumerate and compare files, read documents and their metadata."""
