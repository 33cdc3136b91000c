"""What a person looks up in a published run: an entity's edges, how a pair scores, and why."""
