"""What predictions are worth: metrics, intervals, arm against arm."""
