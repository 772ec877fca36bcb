"""Packs: a source as files that can be carried elsewhere; docs/pack.md describes the format."""
