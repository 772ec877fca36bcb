"""The ground of what asks servers: addresses that may be connected to, and requests over HTTP."""
