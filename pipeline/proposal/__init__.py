"""A first config for logs that nobody has described yet: what their columns look like, and what is proposed."""
