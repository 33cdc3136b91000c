"""Events as 64-bit keys of edges, streamed into one spill file for each split and bucket."""
