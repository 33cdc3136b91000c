"""The ranker: quality beside LightGBM and FuxiCTR, speed, memory, processes, scoring, and logs to rank."""
