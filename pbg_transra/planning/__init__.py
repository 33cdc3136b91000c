"""What a training will take, before it starts: memory, disk and time."""
