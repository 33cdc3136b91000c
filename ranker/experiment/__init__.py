"""All arms on one split: prepared once, each trained and kept, judged together."""
