"""The vector store behind one small interface, and keeping it equal to the ledger."""
