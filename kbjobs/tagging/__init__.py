"""Suggested tags: the categories of preparedness, key terms, and what they are found by."""
