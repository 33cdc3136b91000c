"""Where the first vectors come from."""
