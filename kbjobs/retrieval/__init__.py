"""Answer queries: by exact vectors, by words, and by the fusion of both."""
