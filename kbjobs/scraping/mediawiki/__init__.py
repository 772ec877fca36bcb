"""A MediaWiki, read through its API (mediawiki.org, API:Main page)."""
