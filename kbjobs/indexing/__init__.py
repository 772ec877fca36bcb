"""The index pipeline: scan, embed, publish, forecast, and clear collections."""
