"""What happens in the world, block by block of its users, until it lies in files."""
