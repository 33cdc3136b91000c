"""What people are told of a stage: events on its way, and numbers of its outcome that they should hear of."""
