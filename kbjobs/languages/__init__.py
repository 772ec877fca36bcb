"""Languages by code and name, and the packs that are here to translate between them."""
