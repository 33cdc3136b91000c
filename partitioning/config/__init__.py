"""The `graph` section of the config, and what is checked in it before anything is read."""
