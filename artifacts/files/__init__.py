"""Files that are ours: written whole or not at all, opened without trust, held, and compared with their digests."""
