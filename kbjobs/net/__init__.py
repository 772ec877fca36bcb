"""The base of all code that contacts servers: allowed addresses, HTTP requests, and backoff."""
