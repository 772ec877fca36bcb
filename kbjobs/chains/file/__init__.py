"""Read chain files: syntax, positions, validation, schema, drafts. No other module of chains/ imports this package."""
