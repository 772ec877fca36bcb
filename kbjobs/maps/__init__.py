"""The knowledge map: documents as points in space, near each other where they are about the same."""
