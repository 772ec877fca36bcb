"""Languages by code and name, and the installed packs that translate between them."""
