"""Suggesting tags: the categories of preparedness, key terms, and the ways to find them."""
