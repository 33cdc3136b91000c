"""What is published: bucket files in PBG's layout, counts, statistics, graph.json."""
