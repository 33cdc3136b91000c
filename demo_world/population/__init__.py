"""Who and what the world is made of, how ads are served to people and how they answer, before anything has happened."""
