"""Files and tables of others: found by patterns, copied from stores, and still while they are read."""
