"""Models and language packs from the network: fetched in byte ranges, verified, and either whole or absent."""
