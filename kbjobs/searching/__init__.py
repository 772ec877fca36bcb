"""Answering a query: exact vectors."""
