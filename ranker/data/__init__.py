"""Impressions from Parquet to fixed-size records, ids joined to the rows of the exports."""
