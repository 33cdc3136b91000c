"""The loop over partitions: what comes next loads, and what went before saves, behind the work."""
