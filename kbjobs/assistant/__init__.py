"""Search, documents and jobs for an assistant, over the Model Context Protocol."""
