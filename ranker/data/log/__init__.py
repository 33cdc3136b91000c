"""The log of impressions: its files and columns, which rows count, what its times are, streamed block by block."""
