"""Reading a chain file: syntax, positions, validation, schema, drafts. Nothing else of chains/ imports it."""
