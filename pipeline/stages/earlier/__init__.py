"""What a stage takes of other runs: vectors and answers that are there, the entity map, lists of people, a model."""
