"""Fetching a site into a source: requests and their rules, one rule a module."""
