"""Scraping a site into a source: the order of fetching, the rules of crawling, the files of the pages."""
