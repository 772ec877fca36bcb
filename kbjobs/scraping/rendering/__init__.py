"""Rendering pages whose text is written by scripts, in a browser that reaches nothing by itself."""
