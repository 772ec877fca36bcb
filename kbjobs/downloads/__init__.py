"""Models and language packs from the network: by byte range, verified, whole or not there."""
