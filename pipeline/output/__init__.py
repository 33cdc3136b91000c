"""What people and machines are told: the console, log.jsonl, curves."""
