"""Readers that turn a page into a document; chunking; language; links."""
