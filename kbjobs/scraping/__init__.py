"""Fetching a site into a source: the frontier's order, the rules of crawling, the files of its pages."""
