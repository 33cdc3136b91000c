"""IDs: where they lie in a row, and the rows of exports and of the ID table that they stand for."""
