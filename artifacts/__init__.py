"""Ground floor: the on-disk formats and how they are published. Every stage speaks through these."""
