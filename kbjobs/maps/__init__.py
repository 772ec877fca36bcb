"""The knowledge map: documents as points in space, close together if they are about the same."""
