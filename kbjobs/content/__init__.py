"""Readers that turn a page into a document; chunking, language and links of documents."""
