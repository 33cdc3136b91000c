"""`transra simulate`: the trained arms rank the same requests in an auction of the demo world."""
