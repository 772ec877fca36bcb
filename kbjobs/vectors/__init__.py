"""The vector store behind one small interface, and the code that keeps it equal to the ledger."""
