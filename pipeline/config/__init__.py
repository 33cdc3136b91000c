"""The run config: its root, how it is read and checked, variants, and its schema."""
