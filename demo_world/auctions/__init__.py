"""Rankings of the same requests in auctions of the world, and what they bring."""
