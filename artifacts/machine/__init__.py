"""What the machine has and says: time, memory and disk, the limits on them, its signals, and what is used up."""
