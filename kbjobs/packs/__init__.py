"""Packs: a source as files that can be carried elsewhere. docs/reference/pack-format.md describes the format."""
