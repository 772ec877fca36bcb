"""Answering a query: exact vectors, words, and the fusion of both."""
