"""The index pipeline: scan, embed, publish; its estimate; clearing what it made."""
